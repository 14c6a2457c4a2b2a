"""`tidegate lint`: a manifest is sound, or every fault at once with its line and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tidegate.agents.commands.options import EXIT_DONE, EXIT_WRONG_USE, Output
from tidegate.agents.commands.printing import print_facts
from tidegate.agents.commands.schedules import check_time_zone
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.manifest import Manifest, manifest_json_schema, read_manifest
from tidegate.schemas.manifest.document import read_document
from tidegate.schemas.manifest.layer_reading import is_layer, read_layer


def run_lint(file: Path, output: Output) -> int:
    """Check a manifest; 0 when it is sound, 2 when not.

    Raises:
        DefinitionError: its faults, where they are not printed as facts; or no such file.
    """
    try:
        text = read_file(file)
        if is_layer(text):
            layer = read_layer(text, str(file))
            sound = {"file": str(file), "sound": True, "faults": [], "layer": layer.name}
            print_facts(sound, output, lambda _: [f"{file}: layer {layer.name} is sound"])
            return EXIT_DONE
        manifest = load(file)
    except DefinitionError as error:
        if output is Output.table:
            raise
        print_facts({"file": str(file), "sound": False, "faults": list(error.faults)}, output, _say)
        return EXIT_WRONG_USE
    spec = manifest.spec
    facts = {
        "file": str(file), "sound": True, "faults": [], "experiment": manifest.name,
        "digest": spec.digest(), "release": [step.strategy for step in spec.release],
    }  # fmt: skip
    print_facts(facts, output, _say)
    return EXIT_DONE


def run_schema() -> int:
    """Print the JSON Schema of manifests."""
    print(json.dumps(manifest_json_schema(), indent=2))
    return EXIT_DONE


def load(file: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        DefinitionError: it cannot be read, or has faults.
    """
    text = read_file(file)
    manifest = read_manifest(text, str(file))
    schedule = manifest.spec.schedule
    fault = "" if schedule is None else check_time_zone(schedule.time_zone)
    if fault:
        line = read_document(text).line(("spec", "schedule", "time_zone"))
        raise DefinitionError(
            f"{file} cannot be used: 1 fault", (f"{file}:{line}: spec.schedule.time_zone: {fault}",)
        )
    return manifest


def read_file(file: Path) -> str:
    """The text of a manifest.

    Raises:
        DefinitionError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DefinitionError(
            f"{file} cannot be read ({why}), so there is nothing to check. Name an Experiment"
            " manifest with -f."
        ) from error


def _say(facts: dict[str, Any]) -> list[str]:
    release = ", ".join(facts["release"]) or "a flag"
    return [f"{facts['file']}: {facts['experiment']} is sound ({release})"]
