"""Facts: what the joiner concluded about requests, in columns.

One observation record holds a batch of facts: contexts, attribute sets and names that the facts
share, and one table per kind of fact. A table is a list of columns, little endian, packed.
Readers get numpy arrays over the record's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.schemas import catalogue, limits
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
    "closed_shadow": (
        ("row", "u4"), ("shadow_context", "u4"), ("score", "f8"), ("shadow_score", "f8"),
    ),
    "exposure_feature": (("row", "u4"), ("feature", "u4"), ("value", "f8")),
    "measure": (("row", "u4"), ("name", "u4"), ("value", "f8")),
    "irregular": (
        ("class", "u1"), ("stream", "u1"), ("request", "u8"), ("context", "u4"),
        ("metric", "u4"), ("value", "f8"),
    ),
}
_TEXTS_KEPT: Final = 8_192
COLUMNS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType(_COLUMNS)
"""Columns of each kind of fact: (name, numpy width), in the order they are written.

Kinds are values of a field and no structure: one more is no other version of the schema (its
fingerprint leaves out what a field's text says), and who has none of a kind writes as before.
"""
DTYPES: Final[Mapping[str, Mapping[str, np.dtype[Any]]]] = {
    kind: {name: np.dtype(f"<{width}") for name, width in columns}
    for kind, columns in _COLUMNS.items()
}
"""The same as numpy types."""
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
    if columns.keys() != DTYPES[kind].keys():
        raise ValueError(f"columns of {kind!r} are {[name for name, _ in COLUMNS[kind]]}")
    return {
        name: np.asarray(columns[name], dtype=dtype) for name, dtype in DTYPES[kind].items()
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
        text_bytes(batch.engine),
        long_bytes(batch.log_time_ms),
        block([long_bytes(offset) for offset in batch.covers]),
        block([context_bytes(context) for context in batch.contexts]),
        block([attribute_set_bytes(pairs) for pairs in batch.attributes]),
        block([text_bytes(name) for name in batch.names]),
        block([_table(batch, kind) for kind in COLUMNS if batch.count(kind)]),
    ))  # fmt: skip
    if len(data) > limits.OBSERVATION_BYTES_MAX:
        raise EventError("length", f"an observation of {len(data)} bytes")
    return data


def _table(batch: ObservationBatch, kind: str) -> bytes:
    count, table, dtypes = batch.count(kind), batch.tables[kind], DTYPES[kind]
    sizes = column_sizes(count)
    pieces = [text_bytes(kind), long_bytes(count), long_bytes(len(dtypes))]
    for name, encoded, width in _NAMES[kind]:
        pieces += (encoded, sizes[width], table[name].tobytes())
    pieces.append(b"\0")
    return b"".join(pieces)


_NAMES: Final[Mapping[str, Sequence[tuple[str, bytes, int]]]] = {
    kind: [(name, sized(name.encode()), dtype.itemsize) for name, dtype in dtypes.items()]
    for kind, dtypes in DTYPES.items()
}
"""Kind -> (column, its name encoded, its width)."""


@lru_cache(maxsize=_TEXTS_KEPT)
def column_sizes(count: int) -> Mapping[int, bytes]:
    """The size of a column of so many rows, encoded, by the width of a row."""
    return {width: long_bytes(count * width) for width in (1, 4, 8)}


@lru_cache(maxsize=_TEXTS_KEPT)
def text_bytes(text: str) -> bytes:
    """A string of an observation, encoded."""
    return sized(text.encode())


@lru_cache(maxsize=_TEXTS_KEPT)
def context_bytes(context: Context) -> bytes:
    """A context of an observation, encoded."""
    return b"".join(
        text_bytes(item) if isinstance(item, str) else long_bytes(item) for item in context
    )


@lru_cache(maxsize=_TEXTS_KEPT)
def attribute_set_bytes(pairs: Attributes) -> bytes:
    """An attribute set of an observation, encoded; `pairs` are written in their order."""
    return block([text_bytes(name) + text_bytes(text) for name, text in pairs])
