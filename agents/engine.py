"""The engine: what can change an output, in one fingerprint.

Two workers of equal engine make equal bytes of equal logs. It covers the fold code and the
schemas byte for byte, the settings that shape outputs, the libraries and CPU features that can
change a float, and how checkpoints are packed.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tidegate.schemas
import tidegate.streams
from tidegate.agents.hosting.snapshots import CHUNK_BYTES, ZSTD_LEVEL
from tidegate.agents.settings import Settings
from tidegate.schemas.canonical import canonical_json

ENGINE_DIGITS = 16
ENGINE_SETTINGS = (
    "partitions",
    "decision_partitions",
    "emit_interval_ms",
    "facts_per_batch",
    "early_tolerance_ms",
    "grace_ms",
    "closed_memory_ms",
    "future_tolerance_ms",
    "open_max",
    "closed_max",
    "waiting_max",
)
_LIBRARIES = ("numpy", "scipy", "river", "fastavro", "mmh3")
_SUFFIXES = (".py", ".avsc")
PACKAGES = tuple(
    (name, Path(package.__path__[0]))
    for name, package in (("schemas", tidegate.schemas), ("streams", tidegate.streams))
)
"""Packages whose every byte may show in an output, and where they are."""


def fingerprint(settings: Settings) -> str:
    """16 hexadecimal digits that name the engine of this process."""
    return sha256(canonical_json(ingredients(settings)).encode()).hexdigest()[:ENGINE_DIGITS]


def ingredients(settings: Settings) -> Mapping[str, Any]:
    """What the fingerprint covers, for people who ask why two engines differ."""
    return {
        "code": code_digest(),
        "settings": {name: getattr(settings, name) for name in ENGINE_SETTINGS},
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "cpu_features": cpu_features(),
        "packing": f"cramjam {version('cramjam')}, zstd {ZSTD_LEVEL}, {CHUNK_BYTES}",
    }


@cache
def code_digest() -> str:
    """SHA-256 over path and bytes of every module and schema of `schemas/` and `streams/`."""
    hasher = sha256()
    for name, path in _sources():
        content = path.read_bytes()
        hasher.update(f"{name}\0{len(content)}\0".encode())
        hasher.update(content)
    return hasher.hexdigest()


@cache
def cpu_features() -> list[str]:
    """CPU features numpy found: its kernels, and so last bits of floats, depend on them."""
    # numpy tells them nowhere else than through text printed by show_runtime().
    from numpy._core import _multiarray_umath as kernels  # type: ignore[attr-defined]  # untyped

    return sorted(name for name, present in kernels.__cpu_features__.items() if present)


def _sources() -> Iterator[tuple[str, Path]]:
    for package, root in PACKAGES:
        paths = {
            path.relative_to(root).as_posix(): path
            for path in root.rglob("*")
            if path.suffix in _SUFFIXES
        }
        for name in sorted(paths):
            yield f"{package}/{name}", paths[name]
