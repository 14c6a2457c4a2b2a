"""Events to bytes and back, with every guard between the wire and a fold.

Two framings, read by one reader: Avro single-object encoding (`C3 01`, 8 bytes of CRC-64-AVRO
fingerprint) and Confluent's (`00`, 4 bytes of schema id, big endian). Only released schemas are
decoded; a Confluent id means what its binding says, and an id without binding blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, TypeVar

from fastavro import schemaless_reader, schemaless_writer

from tidegate.schemas import limits
from tidegate.schemas.catalogue import SINGLE_OBJECT_MARK, Schema, latest, writers
from tidegate.schemas.checks import check
from tidegate.schemas.errors import EventError, UnknownSchemaId
from tidegate.schemas.events import EVENTS, Event

Bindings = Mapping[int, bytes]
"""Confluent schema id -> fingerprint (CRC-64-AVRO, 8 bytes, little endian) of its schema.

It may grow, but what an id is bound to must not change. An id bound to no released schema (empty
fingerprint) is refused for good. Where a reader takes None instead, nobody will ever bind an id,
so that its records are dead letters; with a mapping, they wait.
"""

EventKind = TypeVar("EventKind", bound=Event)

NO_BINDINGS: Bindings = {}

_CONFLUENT_MARK = 0
_BYTES_MAX: Mapping[str, int] = {
    "observation": limits.OBSERVATION_BYTES_MAX,
    "control": limits.DOCUMENT_BYTES_MAX,
    "routing": limits.DOCUMENT_BYTES_MAX,
    "decision": limits.DOCUMENT_BYTES_MAX,
}


def encode(event: Event, schema_id: int | None = None) -> bytes:
    """The bytes of `event` in its newest schema, framed for `schema_id` when one is given.

    Raises:
        EventError: the event breaks its schema or a guard that readers apply.
    """
    values = event.to_dict()
    data = encode_record(event.NAME, values, schema_id)
    try:
        check(event.NAME, values)
    except (TypeError, ValueError) as error:  # fastavro writes "1" where a double is due
        raise EventError("schema", f"{event.NAME}: {error!r:.200}") from error
    return data


def decode(name: str, value: bytes | None, bindings: Bindings | None = NO_BINDINGS) -> Event:
    """The event of schema `name` in the value of a record, whichever version wrote it.

    Raises:
        EventError: the record is a dead letter; `reason` says why.
        UnknownSchemaId: it may be sound, but its schema id is not bound.
    """
    return decode_as(EVENTS[name], value, bindings)


def decode_as(
    kind: type[EventKind], value: bytes | None, bindings: Bindings | None = NO_BINDINGS
) -> EventKind:
    """`decode` for callers that name the event's class; raises what it raises."""
    values = decode_record(kind.NAME, value, bindings)
    check(kind.NAME, values)
    return kind.from_dict(values)


def encode_record(name: str, values: Mapping[str, Any], schema_id: int | None = None) -> bytes:
    """The bytes of plain field values, without the guards on what they say.

    Raises:
        EventError: the values break the schema, or the record is too large.
    """
    schema = latest(name)
    buffer = BytesIO()
    buffer.write(schema.head if schema_id is None else confluent_head(schema_id))
    try:
        schemaless_writer(buffer, schema.parsed, values, disable_tuple_notation=True)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise EventError("schema", f"{name}: {error!r:.200}") from error
    data = buffer.getvalue()
    _check_size(name, data)
    return data


def decode_record(
    name: str, value: bytes | None, bindings: Bindings | None = NO_BINDINGS
) -> dict[str, Any]:
    """Plain field values in the newest schema of `name`, without the guards on what they say.

    Raises:
        EventError: `empty`, `length`, `framing`, `schema`, `truncated`, `trailing` or `value`.
        UnknownSchemaId: a Confluent schema id that is not bound.
    """
    if value is None:
        raise EventError("empty", "no value, and no mark among the headers")
    _check_size(name, value)
    writer, start = _writer(name, value, bindings)
    end = writer.walk(value, start)
    if end != len(value):
        raise EventError("trailing", f"{len(value) - end} bytes behind the record")
    reader = latest(name)
    resolved = None if writer is reader else reader.parsed
    try:
        found: Any = schemaless_reader(BytesIO(value[start:]), writer.parsed, resolved)
    except (ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        # A walk leaves little: text that is not UTF-8.
        raise EventError("value", f"{error!r:.200}") from error
    values: dict[str, Any] = found
    return values


def confluent_head(schema_id: int) -> bytes:
    """The first 5 bytes of Confluent's framing."""
    return bytes([_CONFLUENT_MARK]) + schema_id.to_bytes(4, "big")


def require_bound(values: Iterable[bytes | None], bindings: Bindings | None) -> None:
    """Return when every schema id among framed records is bound, or nobody will ever bind one.

    Raises:
        UnknownSchemaId: the first that is not.
    """
    if bindings is None:
        return
    for value in values:
        if value and value[0] == _CONFLUENT_MARK and len(value) >= 5:
            schema_id = int.from_bytes(value[1:5], "big")
            if schema_id not in bindings:
                raise UnknownSchemaId(schema_id)


def _writer(name: str, value: bytes, bindings: Bindings | None) -> tuple[Schema, int]:
    """The schema that wrote `value`, and where the record begins."""
    if value[:2] == SINGLE_OBJECT_MARK and len(value) >= 10:
        fingerprint, start = value[2:10], 10
    elif value[:1] == bytes([_CONFLUENT_MARK]) and len(value) >= 5:
        schema_id, start = int.from_bytes(value[1:5], "big"), 5
        if bindings is None:
            raise EventError("schema", f"{UnknownSchemaId(schema_id)}, and there is no registry")
        bound = bindings.get(schema_id)
        if bound is None:
            raise UnknownSchemaId(schema_id)
        fingerprint = bound
    else:
        raise EventError("framing", f"begins with {value[:10].hex() or 'nothing'}")
    schema = writers(name).get(fingerprint)
    if schema is None:
        found = f"fingerprint {fingerprint.hex()}" if fingerprint else "the schema bound to its id"
        raise EventError("schema", f"{found} is no version of {name}")
    return schema, start


def _check_size(name: str, data: bytes) -> None:
    largest = _BYTES_MAX.get(name, limits.RECORD_BYTES_MAX)
    if len(data) > largest:
        raise EventError("length", f"{len(data)} bytes, at most {largest}")
