"""Bindings: what Confluent schema ids mean, kept on a topic where an auditor finds them.

Every id that a fold may use is bound on the compacted topic `schemas` first, refused ones too: so
what a fold makes of the logs depends on topics alone, and no registry is needed to do it again.
A binding is a fact: the first record of an id stands, and one that says otherwise is a fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastavro.schema import fingerprint, to_parsing_canonical_form

from tidegate.agents.kafka import Record, read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.writing import write_acknowledged
from tidegate.schemas.canonical import canonical_json, sha256_hex
from tidegate.schemas.catalogue import released
from tidegate.schemas.errors import DefinitionError, Unreachable

TOPIC: Final = "schemas"
# Says that ids are bound here, before the first is: without a registry they would be refused.
_DECLARATION: Final = b"registry"


@dataclass(frozen=True, slots=True)
class Binding:
    """What an id means. `fingerprint` is empty when no reader may decode it."""

    schema_id: int
    name: str
    fingerprint: bytes
    schema: str

    def to_json(self) -> str:
        """The value of its record on the topic `schemas`."""
        return canonical_json(
            {
                "id": self.schema_id,
                "name": self.name,
                "fingerprint": self.fingerprint.hex(),
                "sha256": sha256_hex(self.schema),
                "schema": self.schema,
            }
        )


def bind(schema_id: int, schema: str) -> Binding:
    """The binding of an id to a writer's schema: to a released one, or to none that is decoded.

    Fingerprints of 8 bytes can be forged, so the canonical forms are compared as well.
    """
    try:
        document = json.loads(schema)
        form = to_parsing_canonical_form(document)
        found = bytes.fromhex(fingerprint(form, "CRC-64-AVRO"))
        name = str(document["name"]) if isinstance(document, dict) else ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # fastavro's errors of schemas are ValueErrors.
        return Binding(schema_id, "", b"", schema)
    for versions in released().values():
        for version in versions:
            same = to_parsing_canonical_form(json.loads(version.text)) == form
            if version.fingerprint == found and same:
                return Binding(schema_id, version.name, found, schema)
    return Binding(schema_id, name, b"", schema)


def read_binding(record: Record) -> Binding | None:
    """The binding in a record of the topic `schemas`; None when it is none.

    Raises:
        DefinitionError: key, schema and checksum do not belong together.
    """
    if record.key == _DECLARATION or record.value is None:
        return None
    try:
        found = json.loads(record.value)
        binding = Binding(
            int(found["id"]), str(found["name"]), bytes.fromhex(found["fingerprint"]),
            str(found["schema"]),
        )  # fmt: skip
        sound = (
            record.key == str(binding.schema_id).encode()
            and found["sha256"] == sha256_hex(binding.schema)
            and len(binding.fingerprint) in (0, 8)
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        sound = False
    if not sound:
        raise DefinitionError(
            f"{record.topic} holds at offset {record.offset} what is no binding of a schema id: "
            "somebody else has written there, and what events mean cannot be told"
        )
    return binding


class Recorded:
    """Bindings on the topic `schemas`, read on from where reading stopped. Blocks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._next = 0
        self._bindings: dict[int, Binding] = {}
        self.declared = False

    def refresh(self) -> Mapping[int, Binding]:
        """All bindings as the topic is now.

        Raises:
            DefinitionError: an id was bound to two things.
            Unreachable: no broker answers.
        """
        for record in read_topic(self._settings, TOPIC, [0], {0: self._next}):
            self._next = record.offset + 1
            self.declared = True
            binding = read_binding(record)
            if binding is None:
                continue
            known = self._bindings.setdefault(binding.schema_id, binding)
            if known.fingerprint != binding.fingerprint:
                raise DefinitionError(
                    f"schema id {binding.schema_id} was bound to {known.name or 'nothing'} "
                    f"({known.fingerprint.hex() or 'refused'}) and, at offset {record.offset} of "
                    f"{record.topic}, to {binding.name or 'nothing'} "
                    f"({binding.fingerprint.hex() or 'refused'}): the registry was made anew, or "
                    "two registries serve one cluster. Nothing is folded until one of them goes"
                )
        return dict(self._bindings)

    def write(self, binding: Binding) -> None:
        """Put a binding on the topic; returns once it is acknowledged.

        Raises:
            Unreachable: the broker did not take it.
        """
        self._write(str(binding.schema_id).encode(), binding.to_json().encode())

    def declare(self) -> None:
        """Say that ids are bound here; raises what `write` raises."""
        if not self.declared:
            self._write(_DECLARATION, b"{}")
            self.declared = True

    def _write(self, key: bytes, value: bytes) -> None:
        topic = self._settings.topic(TOPIC)
        record = {"topic": topic, "value": value, "key": key, "partition": 0}
        why = write_acknowledged(self._settings, [record])
        if why:
            raise Unreachable(f"{topic} at {self._settings.bootstrap} took no binding ({why})")


def recorded_bindings(settings: Settings) -> dict[int, bytes] | None:
    """Bindings for whoever reads events afterwards; None where ids are not bound at all.

    Raises:
        DefinitionError: they contradict each other.
        Unreachable: no broker answers.
    """
    recorded = Recorded(settings)
    found = recorded.refresh()
    if not recorded.declared:
        return None
    return {schema_id: binding.fingerprint for schema_id, binding in found.items()}
