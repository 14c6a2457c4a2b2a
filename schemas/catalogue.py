"""The released schemas: every version of every record, its fingerprint and its first bytes.

`avro/<name>.v<N>.avsc` is one released schema and is never changed or removed; a change is a new
file with the next number. Readers take every version and resolve it to the newest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from tidegate.schemas.canonical import sha256_hex
from tidegate.schemas.structure import compile_walk

SINGLE_OBJECT_MARK = b"\xc3\x01"

_FILE = re.compile(r"^([a-z][a-z-]*)\.v([1-9]\d*)\.avsc$")


@dataclass(frozen=True, slots=True)
class Schema:
    """One released version of one record.

    `fingerprint` is the CRC-64-AVRO of the parsing canonical form, 8 bytes, little endian;
    `head` the first 10 bytes of a single-object frame; `sha256` that of the file, hex. `walk`
    checks the structure of bytes (see `schemas/structure.py`).
    """

    name: str
    version: int
    text: str
    fingerprint: bytes
    sha256: str
    parsed: Any = field(repr=False, compare=False)
    walk: Callable[[bytes, int], int] = field(repr=False, compare=False)

    @property
    def head(self) -> bytes:
        """Mark and fingerprint: what a single-object frame begins with."""
        return SINGLE_OBJECT_MARK + self.fingerprint

def load_schema(name: str, version: int, text: str) -> Schema:
    """The schema in the text of an `.avsc` file.

    Raises:
        ValueError: it is recursive, or could make a reader allocate without reading.
    """
    document = json.loads(text)
    parsed = parse_schema(document)
    print_hex = fingerprint(to_parsing_canonical_form(document), "CRC-64-AVRO")
    return Schema(
        name=name,
        version=version,
        text=text,
        fingerprint=bytes.fromhex(print_hex),
        sha256=sha256_hex(text),
        parsed=parsed,
        walk=compile_walk(document),
    )


@cache
def released() -> Mapping[str, tuple[Schema, ...]]:
    """All released schemas by name, oldest version first, names sorted."""
    found: dict[str, list[Schema]] = {}
    for file in sorted(files("tidegate.schemas").joinpath("avro").iterdir(), key=lambda f: f.name):
        match = _FILE.match(file.name)
        if match is not None:
            schema = load_schema(match[1], int(match[2]), file.read_text(encoding="utf-8"))
            found.setdefault(schema.name, []).append(schema)
    return {
        name: tuple(sorted(versions, key=lambda schema: schema.version))
        for name, versions in found.items()
    }


def latest(name: str) -> Schema:
    """Newest version of the record `name` (as in `TOPICS[...].schema`).

    Raises:
        KeyError: there is no such record.
    """
    return released()[name][-1]


@cache
def writers(name: str) -> Mapping[bytes, Schema]:
    """Released versions of `name` by fingerprint: the only ones a reader of `name` decodes."""
    return {schema.fingerprint: schema for schema in released()[name]}
