"""Reads the very bytes that `encode_observation` writes; says None to all others.

Everything but numbers and the data of columns has been seen before: contexts, attribute sets and
names repeat from batch to batch, what stands between columns is always the same. So those are
looked up by their bytes, and what is looked up was written the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from io import BytesIO
from typing import Any, Final, NamedTuple, get_type_hints

import numpy as np
from fastavro import parse_schema, schemaless_reader
from numpy.typing import NDArray

from tidegate.schemas import catalogue, limits
from tidegate.schemas.avro_writing import long_bytes, sized
from tidegate.schemas.context import Attributes, Context
from tidegate.schemas.errors import EventError
from tidegate.schemas.facts import (
    COLUMNS,
    DTYPES,
    ObservationBatch,
    Table,
    attribute_set_bytes,
    column_sizes,
    context_bytes,
    empty_table,
    text_bytes,
)
from tidegate.schemas.structure import Walk, compile_walk, read_long

_PIECES_KEPT: Final = 8_192
_PIECE_BYTES_MAX: Final = 2_048
_SHARED_KEPT: Final = 32
_SHARED_BYTES_MAX: Final = 16_384
_INT_MAX: Final = 2**31 - 1
_KINDS: Final[Mapping[str, bytes]] = {kind: sized(kind.encode()) for kind in COLUMNS}
_NAMES: Final[Mapping[str, bytes]] = {
    name: sized(name.encode()) for columns in COLUMNS.values() for name, _ in columns
}


class _NotCanonical(Exception):
    """There may be sense in the bytes, but `encode_observation` did not write them."""


def read_canonical(value: bytes) -> ObservationBatch | None:
    """The batch in `value` if it is what `encode_observation` writes of that batch, else None.

    Values within columns are not looked at, nor whether indexes are in range.
    """
    head = catalogue.latest("observation").head
    if not value.startswith(head) or len(value) > limits.OBSERVATION_BYTES_MAX:
        return None
    try:
        return _batch(value, len(head))
    except (_NotCanonical, EventError, ValueError, LookupError, EOFError):
        return None


def _batch(value: bytes, at: int) -> ObservationBatch:
    source_partition, at = _long(value, at)
    partition, at = _long(value, at)
    if not max(abs(source_partition), abs(partition)) <= _INT_MAX:
        raise _NotCanonical
    sequence, at = _long(value, at)
    engine, at = _piece(value, at, _skip_text, _text_of)
    log_time_ms, at = _long(value, at)
    covers, at = _block(value, at, _long)
    shared = _shared(value, at)
    return ObservationBatch(
        source_partition, partition, sequence, engine, log_time_ms, covers, shared.contexts,
        shared.attributes, shared.names, _tables(value, at + len(shared.data)),
    )


# -- what repeats from batch to batch: found by its end, looked up by its bytes


class _Shared(NamedTuple):
    """What the facts of a batch share, and the bytes that say so."""

    data: bytes
    contexts: tuple[Context, ...]
    attributes: tuple[Attributes, ...]
    names: tuple[str, ...]


_latest: Final[list[tuple[_Shared, ...]]] = [()]
"""The latest first. Batches of the same experiments come one after another, and most of them
share the very same. A tuple in a list, so that threads which read at the same time do no harm."""


def _shared(value: bytes, at: int) -> _Shared:
    for seen in _latest[0]:
        if value.startswith(seen.data, at):
            return seen
    begins = at
    contexts, at = _block(value, at, lambda data, at: _piece(data, at, _skip_context, _context_of))
    attributes, at = _block(value, at, lambda data, at: _piece(data, at, _skip_set, _set_of))
    names, at = _block(value, at, lambda data, at: _piece(data, at, _skip_text, _text_of))
    found = _Shared(value[begins:at], contexts, attributes, names)
    if len(found.data) <= _SHARED_BYTES_MAX:
        _latest[0] = (found, *_latest[0][: _SHARED_KEPT - 1])
    return found


def _block(
    value: bytes, at: int, read: Callable[[bytes, int], tuple[Any, int]]
) -> tuple[tuple[Any, ...], int]:
    """An array in one block, and where it ends."""
    number, at = _long(value, at)
    if number < 0:
        raise _NotCanonical
    found = []
    for _ in range(number):
        item, at = read(value, at)
        found.append(item)
    if number:
        if value[at]:
            raise _NotCanonical
        at += 1
    return tuple(found), at


def _piece(
    value: bytes, at: int, skip: Walk, read: Callable[[bytes], Any]
) -> tuple[Any, int]:
    end = skip(value, at)
    if end - at > _PIECE_BYTES_MAX:
        raise _NotCanonical
    found = read(value[at:end])
    if found is None:
        raise _NotCanonical
    return found, end


def _long(value: bytes, at: int) -> tuple[int, int]:
    """A number in as few bytes as it takes, and where it ends."""
    byte = value[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    number, end = read_long(value, at)
    if not value[end - 1]:
        raise _NotCanonical
    return number, end


def _skip_text(value: bytes, at: int) -> int:
    size = value[at]
    if size & 0x81:
        size, at = read_long(value, at)
        if size < 0:
            raise _NotCanonical
        return at + size
    return at + 1 + (size >> 1)


def _skip_long(value: bytes, at: int) -> int:
    while value[at] & 0x80:
        at += 1
    return at + 1


def _skip_context(value: bytes, at: int) -> int:
    for skip in _CONTEXT_FIELDS:
        at = skip(value, at)
    return at


def _skip_set(value: bytes, at: int) -> int:
    pairs, at = read_long(value, at)
    for _ in range(2 * pairs):
        at = _skip_text(value, at)
    return at + 1 if pairs > 0 else at


_CONTEXT_FIELDS: Final = tuple(
    _skip_text if kind is str else _skip_long for kind in get_type_hints(Context).values()
)


@lru_cache(maxsize=_PIECES_KEPT)
def _text_of(data: bytes) -> str | None:
    _, start = read_long(data, 0)
    text = data[start:].decode()
    return text if text_bytes(text) == data else None


@lru_cache(maxsize=_PIECES_KEPT)
def _context_of(data: bytes) -> Context | None:
    found = _read_item("contexts", data)
    context = None if found is None else Context(**found)
    return context if context is not None and context_bytes(context) == data else None


@lru_cache(maxsize=_PIECES_KEPT)
def _set_of(data: bytes) -> Attributes | None:
    found = _read_item("attributes", data)
    pairs = () if found is None else tuple(sorted(found.items()))
    return pairs if attribute_set_bytes(pairs) == data else None


def _read_item(field: str, data: bytes) -> Any | None:
    """An item of an array field of an observation, None when it is unsound or ends elsewhere."""
    parsed, walk = _item_schemas()[field]
    return schemaless_reader(BytesIO(data), parsed, None) if walk(data, 0) == len(data) else None


@cache
def _item_schemas() -> Mapping[str, tuple[Any, Walk]]:
    fields: Any = catalogue.latest("observation").parsed["fields"]
    items = {
        field["name"]: field["type"]["items"]
        for field in fields
        if field["name"] in ("contexts", "attributes")
    }
    return {
        name: (parse_schema(item, named_schemas={}), compile_walk({
            "type": "record", "name": "Item", "fields": [{"name": "item", "type": item}]
        }))
        for name, item in items.items()
    }  # fmt: skip


# -- the tables


def _tables(value: bytes, at: int) -> dict[str, Table]:
    """The tables from `at` to the end, in the order of `COLUMNS`."""
    declared, at = _long(value, at)
    tables: dict[str, Table] = {}
    found = 0
    for kind in COLUMNS:
        if value.startswith(_KINDS[kind], at):
            tables[kind], at = _table(kind, value, at)
            found += 1
        else:
            tables[kind] = empty_table(kind)
    # An array of no items is one 0; any other is a block behind which a 0 ends it.
    if found != declared or value[at:] != (b"\0" if found else b""):
        raise _NotCanonical
    return tables


def _table(kind: str, value: bytes, at: int) -> tuple[Table, int]:
    """A table, and where it ends: whatever stands between the data is known beforehand."""
    dtypes = DTYPES[kind]
    count, _ = _long(value, at + len(_KINDS[kind]))
    if not 0 < count <= limits.OBSERVATION_ROWS_MAX:
        raise _NotCanonical
    sizes = column_sizes(count)
    expected = _KINDS[kind] + long_bytes(count) + long_bytes(len(dtypes))
    table: dict[str, NDArray[Any]] = {}
    for name, dtype in dtypes.items():
        width = dtype.itemsize
        expected += _NAMES[name] + sizes[width]
        if not value.startswith(expected, at):
            raise _NotCanonical
        at += len(expected)
        end = at + count * width
        table[name] = np.frombuffer(value[at:end], dtype, count)
        at, expected = end, b""
    if value[at]:
        raise _NotCanonical
    return table, at + 1
