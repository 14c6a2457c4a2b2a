"""Released schemas stay as they are, and a new version may only say more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from avro.compatibility import (  # the reference implementation is the oracle
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityType,
)
from avro.schema import parse as parse_reference

from tidegate.schemas.catalogue import Schema, latest, load_schema, released, writers
from tidegate.schemas.topics import TOPICS

SHA256 = {
    "applied.v1": "ba87449b", "applied.v2": "53cba8d9",
    "command.v1": "975268ac", "control.v1": "102b808e",
    "dead-letter.v1": "21281179", "decision.v1": "97be7cd2", "observation.v1": "c9425fb7",
    "outcome.v1": "4bf91a8e", "prediction.v1": "98402b70", "routing.v1": "4b778d03",
    "shadow-prediction.v1": "3208dc2f",
}  # fmt: skip
"""First 8 digits of the SHA-256 of each file. A released file is never changed: add the next
version beside it and its line here."""


def breaks(older: str, newer: str) -> list[str]:
    """Why the two versions cannot read each other; empty when they can."""
    found: list[str] = []
    for reader, writer in ((newer, older), (older, newer)):
        result = ReaderWriterCompatibilityChecker().get_compatibility(
            parse_reference(reader), parse_reference(writer)
        )
        if result.compatibility is not SchemaCompatibilityType.compatible:
            found += sorted(result.messages)
    return found


def changed(schema: Schema, **fields: Any) -> str:
    """The schema with fields replaced, added, or dropped (None)."""
    document = json.loads(schema.text)
    kept = [item for item in document["fields"] if item["name"] not in fields]
    document["fields"] = kept + [item for item in fields.values() if item is not None]
    return json.dumps(document)


def test_fingerprint_has_the_value_of_the_specification() -> None:
    """CRC-64-AVRO of the reference implementation, little endian behind the mark."""
    schema = latest("outcome")
    reference = parse_reference(schema.text).fingerprint("CRC-64-AVRO")
    assert schema.head == b"\xc3\x01" + reference


@pytest.mark.parametrize("name", sorted(released()))
def test_released_files_are_not_changed(name: str) -> None:
    """Each released file has the digest it was released with."""
    for schema in released()[name]:
        assert schema.sha256[:8] == SHA256[f"{name}.v{schema.version}"]


@pytest.mark.parametrize("name", sorted(released()))
def test_versions_are_dense_distinct_and_fully_compatible(name: str) -> None:
    """FULL_TRANSITIVE: every version reads every other, in both directions."""
    versions = released()[name]
    assert [schema.version for schema in versions] == list(range(1, len(versions) + 1))
    assert len(writers(name)) == len(versions)
    for newer in versions:
        for older in versions:
            assert breaks(older.text, newer.text) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"batch": {"name": "batch", "type": "string"}}, "batch"),
        ({"metric": None}, "metric"),
        ({"value": {"name": "value", "type": "string"}}, "double"),
        ({"occurred_at": {"name": "occurred_at", "type": "int"}}, "long"),
        ({"occurred_at": {"name": "happened_at", "type": "long"}}, "happened_at"),
    ],
)
def test_a_breaking_version_is_caught(fields: dict[str, Any], said: str) -> None:
    """The check above sees a required field added, dropped, retyped, narrowed or renamed."""
    schema = latest("outcome")
    found = breaks(schema.text, changed(schema, **fields))
    assert any(said in message for message in found)


def test_a_version_that_says_more_is_accepted() -> None:
    """An optional field with a default may be added."""
    schema = latest("outcome")
    extra = {"name": "currency", "type": ["null", "string"], "default": None}
    assert breaks(schema.text, changed(schema, currency=extra)) == []


def test_every_schema_has_a_topic_and_every_topic_its_schema() -> None:
    """No record without a place, no place without its record."""
    assert {topic.schema for topic in TOPICS.values() if topic.schema} == set(released())


def test_a_schema_that_could_exhaust_memory_is_not_loaded() -> None:
    """Items without bytes are refused when the schema is loaded, not when bytes arrive."""
    nulls = {"name": "nulls", "type": {"type": "array", "items": "null"}}
    with pytest.raises(ValueError, match="no bytes"):
        load_schema("outcome", 2, changed(latest("outcome"), nulls=nulls))
