"""Facts: what the joiner concluded about requests, in columns.

One observation record holds a batch of facts: contexts, attribute sets and names that the facts
share, and one table per kind of fact. A table is a list of columns, little endian, packed.
Readers get numpy arrays over the record's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from fastavro import schemaless_reader
from numpy.typing import ArrayLike, NDArray

from tidegate.schemas import catalogue, codec, limits
from tidegate.schemas.avro_writing import block, long_bytes, sized
from tidegate.schemas.context import Attributes, Context
from tidegate.schemas.errors import EventError

STATUSES: Final = ("OK", "FALLBACK", "ERROR", "TIMEOUT")
"""The `status` columns index it."""
STREAMS: Final = ("prediction", "shadow", "outcome")
"""The `stream` column indexes it."""
CLASSES: Final = ("", "late", "orphan", "duplicate", "conflict", "expired")
"""The `class` column indexes it; 0 is not used."""
AGREE_NO, AGREE_YES, AGREE_UNKNOWN = 0, 1, 2
NONE: Final = 4_294_967_295
"""In a `context`, `metric` or `source` column: there is none."""

_COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "exposure": (
        ("request", "u8"), ("unit", "u8"), ("context", "u4"), ("attributes", "u4"),
        ("served_at", "i8"), ("propensity", "f8"), ("score", "f8"), ("latency", "f8"),
        ("status", "u1"), ("weight", "f4"),
    ),
    "shadow": (
        ("request", "u8"), ("context", "u4"), ("shadow_context", "u4"), ("score", "f8"),
        ("shadow_score", "f8"), ("agree", "u1"), ("latency", "f8"), ("shadow_latency", "f8"),
        ("status", "u1"), ("shadow_status", "u1"),
    ),
    "matched": (
        ("request", "u8"), ("context", "u4"), ("metric", "u4"), ("value", "f8"),
        ("occurred_at", "i8"), ("source", "u4"),
    ),
    "closed": (
        ("request", "u8"), ("unit", "u8"), ("context", "u4"), ("attributes", "u4"),
        ("served_at", "i8"), ("propensity", "f4"), ("score", "f4"), ("latency", "f4"),
        ("status", "u1"), ("weight", "f4"),
    ),
    "closed_metric": (
        ("row", "u4"), ("metric", "u4"), ("count", "u4"), ("first", "f8"), ("last", "f8"),
        ("sum", "f8"), ("min", "f8"), ("max", "f8"),
    ),
    "closed_feature": (("row", "u4"), ("feature", "u4"), ("value", "f8")),
    "exposure_feature": (("row", "u4"), ("feature", "u4"), ("value", "f8")),
    "measure": (("row", "u4"), ("name", "u4"), ("value", "f8")),
    "irregular": (
        ("class", "u1"), ("stream", "u1"), ("request", "u8"), ("context", "u4"),
        ("metric", "u4"), ("value", "f8"),
    ),
}
_TEXTS_KEPT: Final = 8_192
COLUMNS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType(_COLUMNS)
"""Columns of each kind of fact: (name, numpy width), in the order they are written."""
_DTYPES: Final[Mapping[str, Mapping[str, np.dtype[Any]]]] = {
    kind: {name: np.dtype(f"<{width}") for name, width in columns}
    for kind, columns in _COLUMNS.items()
}
Table = Mapping[str, NDArray[Any]]
"""Column name -> array; all of one length."""


@dataclass(frozen=True, slots=True)
class ObservationBatch:
    """A batch of facts of one source partition for one observations partition.

    `covers` is the next offset per input topic, in rank order, at the cut. `tables` has every
    kind; a kind without facts has columns of length 0. `attributes[0]` is the empty set.
    """

    source_partition: int
    partition: int
    sequence: int
    engine: str
    log_time_ms: int
    covers: tuple[int, ...]
    contexts: Sequence[Context] = ()
    attributes: Sequence[Attributes] = ((),)
    names: Sequence[str] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)

    def count(self, kind: str) -> int:
        """Number of facts of a kind."""
        return len(self.tables[kind][COLUMNS[kind][0][0]]) if kind in self.tables else 0


def columns_to_table(kind: str, columns: Mapping[str, ArrayLike]) -> Table:
    """Columns converted to the widths of the kind; `columns` must name exactly its columns."""
    if columns.keys() != _DTYPES[kind].keys():
        raise ValueError(f"columns of {kind!r} are {[name for name, _ in COLUMNS[kind]]}")
    return {
        name: np.asarray(columns[name], dtype=dtype) for name, dtype in _DTYPES[kind].items()
    }


def empty_table(kind: str) -> Table:
    """The table of a kind without facts."""
    return _EMPTY[kind]


_EMPTY: Final[Mapping[str, Table]] = {
    kind: columns_to_table(kind, {name: () for name, _ in columns})
    for kind, columns in COLUMNS.items()
}


def encode_observation(batch: ObservationBatch) -> bytes:
    """The batch as a single-object encoded `Observation`; equal batches give equal bytes.

    Raises:
        EventError: it is larger than an observation may be.
    """
    numbers = (batch.source_partition, batch.partition, batch.sequence)
    data = b"".join((
        catalogue.latest("observation").head,
        *map(long_bytes, numbers),
        _text(batch.engine),
        long_bytes(batch.log_time_ms),
        block([long_bytes(offset) for offset in batch.covers]),
        block([_context(context) for context in batch.contexts]),
        block([_attribute_set(pairs) for pairs in batch.attributes]),
        block([_text(name) for name in batch.names]),
        block([_table(batch, kind) for kind in COLUMNS if batch.count(kind)]),
    ))  # fmt: skip
    if len(data) > limits.OBSERVATION_BYTES_MAX:
        raise EventError("length", f"an observation of {len(data)} bytes")
    return data


def _table(batch: ObservationBatch, kind: str) -> bytes:
    count, table, dtypes = batch.count(kind), batch.tables[kind], _DTYPES[kind]
    sizes = {width: long_bytes(count * width) for width in (1, 4, 8)}
    pieces = [_text(kind), long_bytes(count), long_bytes(len(dtypes))]
    for name, dtype in dtypes.items():
        pieces += (_text(name), sizes[dtype.itemsize], table[name].tobytes())
    return b"".join(pieces) + b"\0"


@lru_cache(maxsize=_TEXTS_KEPT)
def _text(text: str) -> bytes:
    return sized(text.encode())


@lru_cache(maxsize=_TEXTS_KEPT)
def _context(context: Context) -> bytes:
    return b"".join(
        _text(item) if isinstance(item, str) else long_bytes(item) for item in context
    )


@lru_cache(maxsize=_TEXTS_KEPT)
def _attribute_set(pairs: Attributes) -> bytes:
    return block([_text(name) + _text(text) for name, text in pairs])


def decode_observation(value: bytes) -> ObservationBatch:
    """The batch in `value`: arrays are read-only views of its bytes.

    Raises:
        EventError: anything that would let a reader count wrongly: unknown or repeated kinds,
            column lengths that do not fit the count, indexes out of range, unknown codes,
            an engine, context or attribute set that is not sound.
    """
    batch = _read_canonical(value)
    if batch is None:
        batch = _batch(codec.decode_record("observation", value, None))
    _check_head(batch)
    for kind, table in batch.tables.items():
        _check_table(batch, kind, table)
    return batch


def _read_canonical(value: bytes) -> ObservationBatch | None:
    """The batch in `value` if these are the very bytes that `encode_observation` writes of it.

    What encodes to the same bytes cannot have been misread, so the costly look at their
    structure can be left out; None says that it cannot.
    """
    newest = catalogue.latest("observation")
    if not value.startswith(newest.head) or len(value) > limits.OBSERVATION_BYTES_MAX:
        return None
    stream = BytesIO(value)
    stream.seek(len(newest.head))
    try:
        record: Any = schemaless_reader(stream, newest.parsed, None)
        batch = _batch(record)
        return batch if encode_observation(batch) == value else None
    except (EventError, ValueError, EOFError, LookupError, TypeError, OverflowError):
        return None


def _batch(record: Mapping[str, Any]) -> ObservationBatch:
    contexts = tuple(Context(**item) for item in record["contexts"])
    attributes = tuple(tuple(sorted(item.items())) for item in record["attributes"])
    return ObservationBatch(
        record["source_partition"], record["partition"], record["sequence"], record["engine"],
        record["log_time"], tuple(record["covers"]), contexts, attributes,
        tuple(record["names"]), _read_tables(record["tables"]),
    )


def _read_tables(found: Sequence[Mapping[str, Any]]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for item in found:
        kind, count = item["kind"], item["count"]
        dtypes = _DTYPES.get(kind)
        if dtypes is None or kind in tables:
            raise EventError("value", f"fact table {kind!r} is unknown or repeated")
        if not 0 <= count <= limits.OBSERVATION_ROWS_MAX:
            raise EventError("value", f"{kind}: {count} rows")
        if [column["name"] for column in item["columns"]] != list(dtypes):
            raise EventError("value", f"{kind}: columns are not {list(dtypes)}")
        table: dict[str, NDArray[Any]] = {}
        for column, (name, dtype) in zip(item["columns"], dtypes.items(), strict=True):
            if len(column["data"]) != count * dtype.itemsize:
                raise EventError("length", f"{kind}.{name}: not {count} items of {dtype}")
            table[name] = np.frombuffer(column["data"], dtype=dtype)
        tables[kind] = table
    return {kind: tables.get(kind) or empty_table(kind) for kind in COLUMNS}


def _check_head(batch: ObservationBatch) -> None:
    names = [batch.engine, *batch.names]
    for context in batch.contexts:
        names += [text for text in context if isinstance(text, str)]
    for text in names:
        if not 1 <= len(text.encode()) <= limits.NAME_BYTES_MAX:
            raise EventError("length", f"name of {len(text.encode())} bytes in an observation")
    numbers = (batch.source_partition, batch.partition, batch.sequence, batch.log_time_ms)
    if min(numbers) < 0 or len(batch.covers) != len(STREAMS) or min(batch.covers) < 0:
        raise EventError("value", "negative number or wrong covers in an observation")
    if not batch.attributes or batch.attributes[0]:
        raise EventError("value", "attribute set 0 is not the empty set")


def _check_table(batch: ObservationBatch, kind: str, table: Table) -> None:
    if not batch.count(kind):
        return
    for name, (optional, below) in _index_limits(batch, kind).items():
        column = table[name]
        outside = column >= below
        if optional:
            outside &= column != NONE
        if outside.any():
            raise EventError("value", f"{kind}.{name}: {int(column[outside][0])}, below {below}")
    if kind == "irregular" and not table["class"].all():
        raise EventError("value", "irregular.class: 0")
    for name in filter(limits.COLUMN_RANGES.__contains__, table):
        column, (low, high) = table[name], limits.COLUMN_RANGES[name]
        sound = (column >= low) & (column <= high)
        if name in limits.OPTIONAL_COLUMNS or kind == "irregular":
            sound |= np.isnan(column)
        if not sound.all():
            raise EventError("value", f"{kind}.{name}: {float(column[~sound][0])!r}")


def _index_limits(batch: ObservationBatch, kind: str) -> dict[str, tuple[bool, int]]:
    """Column -> (may be NONE, first number that is too large)."""
    rows = "exposure" if kind in ("exposure_feature", "measure") else "closed"
    ends = {
        "context": (kind == "irregular", len(batch.contexts)),
        "shadow_context": (False, len(batch.contexts)),
        "attributes": (False, len(batch.attributes)),
        "metric": (kind == "irregular", len(batch.names)),
        "source": (True, len(batch.names)),
        "feature": (False, len(batch.names)),
        "name": (False, len(batch.names)),
        "row": (False, batch.count(rows)),
        "status": (False, len(STATUSES)),
        "shadow_status": (False, len(STATUSES)),
        "agree": (False, AGREE_UNKNOWN + 1),
        "class": (False, len(CLASSES)),
        "stream": (False, len(STREAMS)),
    }
    return {name: ends[name] for name, _ in COLUMNS[kind] if name in ends}
