"""Packed forms of what is kept and of what goes into an open batch.

State is bytes under bytes: the garbage collector has nothing to follow, a checkpoint is a join,
and a row of an open batch is the very bytes that are kept. All little endian, without gaps.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import numpy as np

KEY_BYTES: Final = 16

HEAD: Final = struct.Struct("<qQIIdddIIB")
"""An open request: served_at, unit, tail, attributes, propensity, score, latency, label, layout of
the features, number of features. Features (doubles) and entries follow."""
HEAD_BYTES: Final = HEAD.size
CLOSED_BYTES: Final = 20
"""What is kept of the head once closed: served_at, unit, tail; entries follow."""
IDENTITY: Final = struct.Struct("<qQI")
"""served_at, unit, tail: how an open and a closed request begin."""
ANSWER: Final = struct.Struct("<q8xI12xddI")
"""served_at, tail, score, latency and label of an open request: what a shadow is held against."""
TAIL_AND_SET: Final = struct.Struct("<16xII")
"""tail and attributes of an open request."""

ENTRY: Final = struct.Struct("<IQdI")
"""An outcome: metric, outcome id, value, occurred_at - served_at + early tolerance. A shadow:
`SHADOW_ENTRY`, shadow tail, score, label."""
ENTRY_BYTES: Final = ENTRY.size
ENTRIES: Final = np.dtype([("metric", "<u4"), ("id", "<u8"), ("value", "<f8"), ("after", "<u4")])
ENTRY_NAME: Final = struct.Struct("<IQ")
"""How an entry begins: what may be there once."""
SHADOW_ENTRY: Final = 4_294_967_295
ACTIVATION_ENTRY: Final = 4_294_967_294
SHADOW_MARK: Final = SHADOW_ENTRY.to_bytes(4, "little")
"""How the entry of a shadow begins. It may be found elsewhere as well: where it is not, is none."""

WAITING_OUTCOME: Final = struct.Struct("<BqIIQdq")
"""stream, deadline, metric or `ACTIVATION_ENTRY`, source, outcome id, value, occurred_at."""
WAITING_SHADOW: Final = struct.Struct("<BqIIdd8x")
"""stream, deadline, shadow tail, label, score, latency; as long as an outcome."""
WAITING_BYTES: Final = WAITING_OUTCOME.size

SHADOW_ROW: Final = struct.Struct("<8sIIddBdd")
"""request, tail, shadow tail, score, shadow score, agree, latency, shadow latency."""
MATCHED_ROW: Final = struct.Struct("<8sIIdqI")
"""request, tail, metric, value, occurred_at, source."""
IRREGULAR_ROW: Final = struct.Struct("<BB8sIId")
"""class, stream, request, tail, metric, value."""
METRIC_ROW: Final = struct.Struct("<IIIddddd")
"""row, metric, count, first, last, sum, min, max."""
CLOSED_SHADOW_ROW: Final = struct.Struct("<IId")
"""row, shadow tail, score of the shadow; that of the answer is in the closed request."""

REQUEST_ROWS: Final = np.dtype([
    ("request", "<u8"), ("rest", "<u8"), ("served_at", "<i8"), ("unit", "<u8"), ("tail", "<u4"),
    ("attributes", "<u4"), ("propensity", "<f8"), ("score", "<f8"), ("latency", "<f8"),
    ("label", "<u4"), ("layout", "<u4"), ("features", "u1"),
])  # fmt: skip
"""Key and head of an open request."""
SHADOW_ROWS: Final = np.dtype([
    ("request", "<u8"), ("tail", "<u4"), ("shadow_tail", "<u4"), ("score", "<f8"),
    ("shadow_score", "<f8"), ("agree", "u1"), ("latency", "<f8"), ("shadow_latency", "<f8"),
])  # fmt: skip
MATCHED_ROWS: Final = np.dtype([
    ("request", "<u8"), ("tail", "<u4"), ("metric", "<u4"), ("value", "<f8"),
    ("occurred_at", "<i8"), ("source", "<u4"),
])  # fmt: skip
IRREGULAR_ROWS: Final = np.dtype([
    ("class", "u1"), ("stream", "u1"), ("request", "<u8"), ("tail", "<u4"), ("metric", "<u4"),
    ("value", "<f8"),
])  # fmt: skip
METRIC_ROWS: Final = np.dtype([
    ("row", "<u4"), ("metric", "<u4"), ("count", "<u4"), ("first", "<f8"), ("last", "<f8"),
    ("sum", "<f8"), ("min", "<f8"), ("max", "<f8"),
])  # fmt: skip
CLOSED_SHADOW_ROWS: Final = np.dtype([
    ("row", "<u4"), ("shadow_tail", "<u4"), ("shadow_score", "<f8"),
])  # fmt: skip
DOUBLES_ROWS: Final = np.dtype([("row", "<u4"), ("layout", "<u4"), ("count", "<u4")])
"""Doubles that belong to a row: their names are a layout, their values follow one another."""
DOUBLES_ROW: Final = struct.Struct("<III")


def entries_start(state: bytes) -> int:
    """Where the entries of an open request begin."""
    return HEAD_BYTES + 8 * state[HEAD_BYTES - 1]


def closed_values(states: Iterable[bytes]) -> list[bytes]:
    """What is kept of open requests once they have closed."""
    # As `entries_start`: a call per request takes as long as all the rest.
    return [
        state[:CLOSED_BYTES] + state[HEAD_BYTES + 8 * state[HEAD_BYTES - 1] :] for state in states
    ]


def is_open(state: bytes) -> bool:
    """Whether a request is open, by the size of what is kept: features and entries are multiples
    of eight bytes, and head and identity differ by none."""
    return is_open_size(len(state))


def is_open_size(size: int) -> bool:
    """The same by the size alone."""
    return size % 8 == HEAD_BYTES % 8
