"""The Experiment manifest: what people write, and the spec the decider works from."""

from __future__ import annotations

from tidegate.schemas.manifest.reading import Manifest, manifest_json_schema, read_manifest
from tidegate.schemas.manifest.spec import ExperimentSpec

__all__ = ["ExperimentSpec", "Manifest", "manifest_json_schema", "read_manifest"]
