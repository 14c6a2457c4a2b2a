"""A hash index of 16-byte keys to row numbers that keeps no key: about 12 bytes per key.

Linear hashing (Litwin 1980): the table grows by splitting a few buckets at a time, so that no
growth is ever a pause. A bucket has 16 slots; one octet of the key, its tag, says in which slots
looking is worth while (as in Abseil's Swiss tables). What finds its bucket full goes to a plain
dict: a few in a hundred, or all there are of keys that somebody forged to meet in one bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegate.streams.joining.column import Column

Array = NDArray[Any]
Slots = tuple[Array, Array]
"""Buckets, and slots in them."""

_SLOT_BITS: Final = 4
_SLOTS: Final = 1 << _SLOT_BITS
_BUCKET: Final = np.dtype([("tags", "u1", _SLOTS), ("rows", "<u4", _SLOTS)])
_LOAD_MAX: Final = 0.52
"""Keys per slot. A bucket yet to be split has up to twice as many as one that was."""
_SPLIT_MIN: Final = 64
"""So many buckets are split at once, or all of a small table."""


class Index:
    """Row numbers (u4) by key; all methods take many keys at once.

    Keys are arrays of shape (keys, 2), dtype u8: 16 octets that are spread evenly, as digests are.
    `keys_of` gives the keys of rows; the owner keeps them, and knows the rows of all keys in the
    index, also while it is being changed.
    """

    __slots__ = ("_keys_of", "_overflow", "_table", "count")

    def __init__(self, keys_of: Callable[[Array], Array]) -> None:
        self.count = 0
        self._keys_of = keys_of
        self._table = Column(_BUCKET)
        self._add_buckets(1)
        self._overflow: dict[bytes, int] = {}

    @property
    def overflown(self) -> int:
        """How many keys found their bucket full."""
        return len(self._overflow)

    def find(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """The keys that are there, each with its row; in no particular order."""
        places, rows, _ = self._slots_of(as_keys(keys))
        found = list(zip(map(keys.__getitem__, places.tolist()), rows.tolist(), strict=True))
        if self._overflow:
            overflow = self._overflow
            found += [(key, overflow[key]) for key in keys if key in overflow]
        return found

    def locate(self, keys: Array) -> tuple[Array, Array]:
        """Places in `keys` of those that are there, and their rows; in no particular order."""
        places, rows, _ = self._slots_of(keys)
        if not self._overflow:
            return places, rows
        overflow = self._overflow
        others = [(at, overflow.get(keys[at].tobytes(), -1)) for at in _others(places, len(keys))]
        found = np.array([pair for pair in others if pair[1] >= 0], dtype=np.int64).reshape(-1, 2)
        return (
            np.concatenate([places, found[:, 0]]),
            np.concatenate([rows, found[:, 1].astype("<u4")]),
        )

    def insert(self, keys: Array, rows: Array) -> None:
        """Add keys that are not there, different from each other."""
        self.count += len(keys)
        while self.count > _LOAD_MAX * _SLOTS * self._table.size:
            self._split()
        self._place(keys, rows)

    def remove(self, keys: Array) -> None:
        """Take out keys that are there; the owner must still know their rows."""
        self.count -= len(keys)
        places, _, slots = self._slots_of(keys)
        self._table.values["tags"][slots] = 0
        for place in _others(places, len(keys)):
            del self._overflow[keys[place].tobytes()]

    def _slots_of(self, keys: Array) -> tuple[Array, Array, Slots]:
        """Places in `keys` of those that stand in a bucket, their rows, and their slots."""
        buckets = self._buckets_of(keys)
        # One dimension and shifts: half the time of nonzero() and divmod().
        alike = np.flatnonzero(self._table.values["tags"][buckets] == _tags_of(keys)[:, None])
        places = alike >> _SLOT_BITS
        buckets, slots = buckets[places], alike & (_SLOTS - 1)
        rows = self._table.values["rows"][buckets, slots]
        equal = self._keys_of(rows) == keys[places]
        same = equal[:, 0] & equal[:, 1]
        return places[same], rows[same], (buckets[same], slots[same])

    def _place(self, keys: Array, rows: Array) -> None:
        """Put keys into free slots of their buckets, the rest into the dict."""
        buckets = self._buckets_of(keys)
        order = np.argsort(buckets, kind="stable")
        buckets, keys, rows = buckets[order], keys[order], rows[order]
        # The first key of a bucket takes its first free slot, the second the second.
        begins = np.flatnonzero(np.diff(buckets, prepend=-1))
        ranks = np.arange(len(keys)) - np.repeat(begins, np.diff(begins, append=len(keys)))
        nth = np.minimum(ranks + 1, _SLOTS + 1).astype(np.int8)
        free = self._table.values["tags"][buckets] == 0
        chosen = np.flatnonzero(free & (np.cumsum(free, axis=1, dtype=np.int8) == nth[:, None]))
        places = chosen >> _SLOT_BITS
        slots = (buckets[places], chosen & (_SLOTS - 1))
        self._table.values["tags"][slots] = _tags_of(keys)[places]
        self._table.values["rows"][slots] = rows[places]
        for place in _others(places, len(keys)):
            self._overflow[keys[place].tobytes()] = int(rows[place])

    def _buckets_of(self, keys: Array) -> Array:
        """Bucket of each key: by as many low bits of its first half as there are buckets for."""
        count = self._table.size
        half = 1 << (count.bit_length() - 1)
        buckets = keys[:, 0].astype(np.int64) & (2 * half - 1)
        buckets[buckets >= count] -= half
        return buckets

    def _split(self) -> None:
        """Split the next buckets: one bit more of a key says which of two is its bucket now."""
        half = 1 << (self._table.size.bit_length() - 1)
        first = self._table.size - half
        count = min(half - first, max(_SPLIT_MIN, half // 64))
        self._add_buckets(count)
        old, new = self._table.values[first : first + count], self._table.values[first + half :]
        buckets, slots = np.nonzero(old["tags"])
        keys = self._keys_of(old["rows"][buckets, slots])
        moves = (keys[:, 0] & np.uint64(half)) != 0
        # A key that moves keeps its slot.
        moving = (buckets[moves], slots[moves])
        for name in ("tags", "rows"):
            new[name][moving] = old[name][moving]
        old["tags"][moving] = 0
        if self._table.size == 2 * half and self._overflow:
            self._settle()

    def _add_buckets(self, count: int) -> None:
        first = self._table.grow(count)
        self._table.values["tags"][first : self._table.size] = 0

    def _settle(self) -> None:
        """All buckets are small again: try the keys that did not fit once more."""
        keys = as_keys(list(self._overflow))
        rows = np.fromiter(self._overflow.values(), dtype="<u4", count=len(keys))
        self._overflow = {}
        self._place(keys, rows)


def as_keys(keys: Sequence[bytes]) -> Array:
    """Keys of 16 bytes as an array: (keys, 2) of u8."""
    return np.frombuffer(b"".join(keys), dtype="<u8").reshape(-1, 2)


def _tags_of(keys: Array) -> Array:
    """One octet of the other half of each key; 0 says that a slot is free."""
    return np.maximum(keys[:, 1].astype(np.uint8), 1)


def _others(places: Array, count: int) -> list[int]:
    """Which of `count` places are not among `places`."""
    if len(places) == count:
        return []
    others = np.ones(count, dtype=np.bool_)
    others[places] = False
    return np.flatnonzero(others).tolist()
