"""From all changes to the requests that are left of them, and from requests to changes.

Column by column: ten million requests come back within seconds.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tidegate.streams.joining.changes import (
    GIVEN_UP,
    JOINED,
    OPENED,
    ROW_BYTES,
    Changes,
)
from tidegate.streams.joining.layout import (
    CLOSED_BYTES,
    ENTRY_BYTES,
    HEAD_BYTES,
    KEY_BYTES,
    is_open_size,
)
from tidegate.streams.joining.packed import PACKED_HEAD, Dumped, Packed

Array = NDArray[Any]

_HEAD_BYTES: Final = PACKED_HEAD.itemsize
_REST_BYTES: Final = HEAD_BYTES - CLOSED_BYTES
_AT_ONCE: Final = 65_536


class Left(NamedTuple):
    """What was rebuilt: closed requests are the first rows, oldest first; the open ones behind
    them have these deadlines, ascending, in the order in which they opened."""

    closed: int
    deadlines_ms: Array


def rebuild(packed: Packed, parts: list[Changes], log_time_ms: int, closed: int) -> Left:
    """Pack the requests that are open, and so many closed ones, the last to close.

    `parts` are all changes that are needed, in any order; they are taken off the list, since
    together they are larger than what is left of them. `packed` must be new.

    Raises:
        ValueError: fewer have closed than `closed`.
    """
    untils_ms = _column([part.opened["until_ms"] for part in parts], "<i8")
    serials = _column([part.opened["serial"] for part in parts], "<i8")
    rows = _column([part.opened["row"] for part in parts], OPENED["row"])
    features = _column([part.features for part in parts], "<f8")
    joined = _column([part.joined for part in parts], JOINED)
    given_up = _column([part.given_up for part in parts], GIVEN_UP)
    parts.clear()
    octets = rows.view(np.uint8).reshape(len(rows), ROW_BYTES)
    order = np.lexsort((serials, untils_ms))
    if len(given_up):
        order = order[~_given_up(octets, serials, given_up)[order]]
    gone = int(np.searchsorted(untils_ms[order], log_time_ms, "right")) - closed
    if gone < 0:
        raise ValueError(f"{-gone} closed requests are missing")
    order = order[gone:]
    packed.load(octets[order, :_HEAD_BYTES].view(PACKED_HEAD)[:, 0])
    counts = octets[:, ROW_BYTES - 1].astype(np.int64)
    feature_ends, widths = np.cumsum(counts)[order], counts[order]
    widths[:closed] = 0
    entries, entry_begins, entry_counts = _entries(packed, joined, serials[order])
    kinds = (widths << 16) | (entry_counts << 1)
    kinds[closed:] |= 1
    for kind in np.unique(kinds).tolist():
        width, count = kind >> 16, (kind & 0xFFFF) >> 1
        alike = np.flatnonzero(kinds == kind)
        for start in range(0, len(alike), _AT_ONCE):
            some = alike[start : start + _AT_ONCE]
            extras = [octets[order[some], _HEAD_BYTES:]] if kind & 1 else []
            if width:
                extras.append(_series(features, feature_ends[some] - width, width))
            if count:
                extras.append(_series(entries, entry_begins[some], count))
            if extras:
                packed.fill(some.astype("<u4"), np.concatenate(extras, axis=1))
    return Left(closed, untils_ms[order[closed:]])


def _column(parts: list[Array], dtype: DTypeLike) -> Array:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def changes_of(dumped: Dumped, deadlines_ms: Array) -> Changes:
    """Requests in the order dumped as changes that lead to them; serial numbers begin at 0.

    Of closed requests only identity and entries are known; nothing else is asked of them.
    """
    sizes = np.frombuffer(dumped.sizes, dtype="<u2")
    count = len(sizes)
    octets = np.zeros((count, ROW_BYTES), dtype=np.uint8)
    octets[:, :_HEAD_BYTES] = np.frombuffer(dumped.heads, np.uint8).reshape(-1, _HEAD_BYTES)
    widths, entry_counts = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    pieces: list[tuple[Array, Array, Array]] = []
    extras, start = np.frombuffer(dumped.extras, np.uint8), 0
    for size in np.unique(sizes).tolist():
        alike = np.flatnonzero(sizes == size)
        block = extras[start : start + size * len(alike)].reshape(len(alike), size)
        start += block.size
        if is_open_size(size + CLOSED_BYTES):
            octets[alike, _HEAD_BYTES:] = block[:, :_REST_BYTES]
            widths[alike] = block[:, _REST_BYTES - 1]
            block = block[:, _REST_BYTES:]
        entry_counts[alike] = (block.shape[1] - 8 * widths[alike]) // ENTRY_BYTES
        for width in np.unique(widths[alike]).tolist():
            chosen = widths[alike] == width
            part = block[chosen]
            pieces.append((alike[chosen], part[:, : 8 * width], part[:, 8 * width :]))
    opened = np.empty(count, OPENED)
    opened["until_ms"], opened["serial"] = deadlines_ms, np.arange(count)
    opened["row"] = octets.view(OPENED["row"])[:, 0]
    features = np.empty(int(widths.sum()), dtype="<f8")
    joined = np.empty(int(entry_counts.sum()), JOINED)
    feature_ends, entry_ends = np.cumsum(widths), np.cumsum(entry_counts)
    for rows, values, entries in pieces:
        width, entry_count = values.shape[1] // 8, entries.shape[1] // ENTRY_BYTES
        if width:
            into = feature_ends[rows, None] - width + np.arange(width)
            features[into] = np.ascontiguousarray(values).view("<f8")
        if entry_count:
            into = (entry_ends[rows, None] - entry_count + np.arange(entry_count)).ravel()
            joined["entry"][into] = np.ascontiguousarray(entries).view(JOINED["entry"]).ravel()
            joined["until_ms"][into] = np.repeat(opened["until_ms"][rows], entry_count)
            keys = np.ascontiguousarray(octets[rows, :KEY_BYTES]).view("<u8")
            joined["key"][into] = np.repeat(keys, entry_count, axis=0)
    joined["serial"], joined["after"] = np.arange(len(joined)), count
    return Changes(opened, features, joined, np.empty(0, GIVEN_UP))


def _given_up(octets: Array, serials: Array, given_up: Array) -> Array:
    """Which of the opened were given up: the last of the key that had opened before."""
    keys = np.ascontiguousarray(octets[:, :KEY_BYTES]).view("<u8")
    suspects = np.flatnonzero(np.isin(keys[:, 0], given_up["key"][:, 0]))
    # Between the requests numbered n - 1 and n.
    moments = np.concatenate([2 * serials[suspects], 2 * given_up["after"] - 1])
    both = np.concatenate([keys[suspects], given_up["key"]])
    order = np.lexsort((moments, both[:, 1], both[:, 0]))
    before, after = order[:-1], order[1:]
    hits = (before < len(suspects)) & (after >= len(suspects))
    hits &= (both[before] == both[after]).all(axis=1)
    lost = np.zeros(len(serials), dtype=np.bool_)
    lost[suspects[before[hits]]] = True
    return lost


def _entries(packed: Packed, joined: Array, serials: Array) -> tuple[Array, Array, Array]:
    """Entries (V24), those of one row after those of the other, in the order in which they were
    joined; where those of each row begin, and how many they are."""
    places, rows = packed.locate(np.ascontiguousarray(joined["key"]))
    # A key may come again when it is forgotten; entries of its first request are not its own.
    own = joined["after"][places] > serials[rows]
    places, rows = places[own], rows[own]
    order = np.lexsort((joined["serial"][places], rows))
    counts = np.bincount(rows, minlength=len(serials))
    firsts = np.cumsum(counts) - counts
    return np.ascontiguousarray(joined["entry"][places[order]]), firsts, counts


def _series(values: Array, firsts: Array, count: int) -> Array:
    """For each of `firsts`, so many values from there on, as octets: (firsts, bytes) of u1."""
    found = values[firsts[:, None] + np.arange(count)]
    return found.view(np.uint8).reshape(len(firsts), -1)
