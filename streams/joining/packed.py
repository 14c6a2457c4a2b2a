"""Requests in columns: those old enough that hardly anybody asks for them, in little memory.

A packed request has a row: its key and identity, 36 bytes; 6 bytes say where its extra is, the
rest of its value; its key is found by an index of about 12 bytes a row. As Python objects an open
and a closed request took 236 and 224 bytes; packed about 95 and 58, and what was joined.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.streams.joining.column import Column
from tidegate.streams.joining.extras import Extras, by_size, places_for
from tidegate.streams.joining.index import Index, as_keys
from tidegate.streams.joining.layout import CLOSED_BYTES, KEY_BYTES

Array = NDArray[Any]

_HEAD_BYTES: Final = KEY_BYTES + CLOSED_BYTES
PACKED_HEAD: Final = np.dtype(f"V{_HEAD_BYTES}")
"""Key and identity."""
_ROW: Final = np.dtype({
    "names": ["key", "head", "size", "place"],
    "formats": [("<u8", 2), PACKED_HEAD, "<u2", "<u4"],
    "offsets": [0, 0, _HEAD_BYTES, _HEAD_BYTES + 2],
    "itemsize": _HEAD_BYTES + 6,
})  # fmt: skip
"""Key and identity, and size and place of the extra. One array, not four: memory comes in pages of
two megabytes each."""
_KEY: Final = slice(0, KEY_BYTES)
_IDENTITY: Final = slice(KEY_BYTES, _HEAD_BYTES)
_INDEXED_AT_ONCE: Final = 65_536


class Dumped(NamedTuple):
    """In the order asked for: keys and identities, sizes of extras (u2), and, of one size after
    the other, extras."""

    heads: bytes
    sizes: bytes
    extras: bytes


class Packed:
    """Values of requests by row number; every value is at least as long as an identity.

    Row numbers are given out anew. Which row has which request, and where, depends on history:
    nothing that leaves the joiner, and no checkpoint, may depend on it.
    """

    __slots__ = ("_extras", "_free", "_index", "_rows")

    def __init__(self) -> None:
        self._index = Index(self._keys_of)
        self._extras = Extras()
        self._free = array("I")
        self._rows = Column(_ROW)

    def __len__(self) -> int:
        """How many keys can be found."""
        return self._index.count

    def find(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """The keys that are here, with their rows; in no particular order."""
        return self._index.find(keys) if self._index.count else []

    def pack(self, keys: Sequence[bytes], values: Sequence[bytes]) -> Array:
        """Take requests in whose keys are not here; returns their rows."""
        rows = self.store(keys, values)
        self._index.insert(as_keys(keys), rows)
        return rows

    def remove(self, rows: Array) -> None:
        """Forget requests."""
        self._index.remove(self._keys_of(rows))
        self.release(rows)

    def store(self, keys: Sequence[bytes], values: Sequence[bytes]) -> Array:
        """Keep requests that nobody will find by their keys; returns their rows."""
        rows = self._allocate(len(keys))
        self._octets(_KEY)[rows] = _octets(keys, KEY_BYTES)
        self._put(rows, values)
        return rows

    def release(self, rows: Array) -> None:
        """Forget what was stored."""
        self._drop(rows)
        self._free.frombytes(rows.tobytes())

    def change(self, rows: Array, values: Sequence[bytes]) -> None:
        """Give rows other values, of the same identity."""
        self._drop(rows)
        self._put(rows, values)

    def keys(self, rows: Array) -> list[bytes]:
        """Keys of rows."""
        return _pieces(self._octets(_KEY)[rows])

    def values(self, rows: Array) -> list[bytes]:
        """Values of rows."""
        values = [b""] * len(rows)
        places = self._rows.values["place"][rows]
        for size, those in by_size(self._rows.values["size"][rows]):
            extras = self._extras.get(size, places[those])
            octets = np.concatenate([self._octets(_IDENTITY)[rows[those]], extras], axis=1)
            for place, value in zip(those.tolist(), _pieces(octets), strict=True):
                values[place] = value
        return values

    def dump(self, rows: Array) -> Dumped:
        """Keys and values of rows."""
        sizes, places = self._rows.values["size"][rows], self._rows.values["place"][rows]
        extras = [self._extras.get(size, places[those]) for size, those in by_size(sizes)]
        heads = self._rows.values["head"][rows].tobytes()
        return Dumped(heads, sizes.tobytes(), b"".join(block.data for block in extras))

    def load(self, heads: Array) -> None:
        """Become requests with these keys and identities (V36), as rows 0, 1, ..., without extras;
        must be new."""
        count = len(heads)
        self._rows.grow(count)
        table = self._rows.values[:count]
        table["head"], table["size"], table["place"] = heads, 0, 0
        for start in range(0, count, _INDEXED_AT_ONCE):
            rows = np.arange(start, min(start + _INDEXED_AT_ONCE, count), dtype="<u4")
            self._index.insert(self._keys_of(rows), rows)

    def locate(self, keys: Array) -> tuple[Array, Array]:
        """Places in `keys`, (n, 2) of u8, of those that are here, and their rows; any order."""
        places, rows = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype="<u4")]
        for start in range(0, len(keys), _INDEXED_AT_ONCE):
            found, at = self._index.locate(keys[start : start + _INDEXED_AT_ONCE])
            places.append(found + start)
            rows.append(at)
        return np.concatenate(places), np.concatenate(rows)

    def fill(self, rows: Array, extras: Array) -> None:
        """Give rows that have none their extras: (rows, size) of u1."""
        self._rows.values["size"][rows] = extras.shape[1]
        self._rows.values["place"][rows] = self._extras.put(extras)

    def _keys_of(self, rows: Array) -> Array:
        found: Array = self._rows.values["key"][rows]
        return found

    def _allocate(self, count: int) -> Array:
        return places_for(count, self._free, self._rows)

    def _put(self, rows: Array, values: Sequence[bytes]) -> None:
        sizes = np.fromiter(map(len, values), dtype="<u2", count=len(values))
        for size, those in by_size(sizes):
            alike = values if len(those) == len(values) else [values[it] for it in those.tolist()]
            octets = _octets(alike, size)
            self._octets(_IDENTITY)[rows[those]] = octets[:, :CLOSED_BYTES]
            self._rows.values["place"][rows[those]] = self._extras.put(octets[:, CLOSED_BYTES:])
        self._rows.values["size"][rows] = sizes - CLOSED_BYTES

    def _drop(self, rows: Array) -> None:
        places = self._rows.values["place"][rows]
        for size, those in by_size(self._rows.values["size"][rows]):
            self._extras.remove(size, places[those])

    def _octets(self, part: slice) -> Array:
        """A part of all rows, as octets."""
        return self._rows.values.view(np.uint8).reshape(-1, _ROW.itemsize)[:, part]


def _octets(values: Sequence[bytes], size: int) -> Array:
    """Values of one size as octets: (values, size) of u1."""
    return np.frombuffer(b"".join(values), dtype=np.uint8).reshape(len(values), size)


def _pieces(octets: Array) -> list[bytes]:
    """The other way round."""
    joined, size = octets.tobytes(), octets.shape[1]
    return [joined[start : start + size] for start in range(0, len(joined), size)]
