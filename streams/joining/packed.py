"""Requests in columns: those old enough that hardly anybody asks for them, in little memory.

A packed request has a row: its key and identity, 36 bytes; 6 bytes say where its extra is, the
rest of its value; its key is found by an index of about 12 bytes a row. As Python objects an open
and a closed request took 236 and 224 bytes; packed they take about 91 and 54, and what was joined.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.streams.joining.column import Column
from tidegate.streams.joining.extras import Extras, places_for
from tidegate.streams.joining.index import Index, as_keys
from tidegate.streams.joining.layout import CLOSED_BYTES, KEY_BYTES

Array = NDArray[Any]

Item = tuple[bytes, bytes]
"""Key and value of a request, open or closed, as in `layout`."""

_ROW_BYTES: Final = KEY_BYTES + CLOSED_BYTES
_ROW: Final = np.dtype(f"V{_ROW_BYTES}")
_KEYS: Final = np.dtype({
    "names": ["key"], "formats": [("<u8", 2)], "offsets": [0], "itemsize": _ROW_BYTES
})  # fmt: skip
_INDEXED_AT_ONCE: Final = 65_536


class Dumped(NamedTuple):
    """Rows in the order asked for, sizes of their extras (u2), and extras as `Extras.dump`."""

    rows: bytes
    sizes: bytes
    extras: bytes


class Packed:
    """Values of requests by row number; every value is at least as long as an identity.

    Row numbers are given out anew. Which row has which request, and where, depends on history:
    nothing that leaves the joiner, and no checkpoint, may depend on it.
    """

    __slots__ = ("_extras", "_free", "_index", "_places", "_rows", "_sizes")

    def __init__(self) -> None:
        self._index = Index(self._keys_of)
        self._extras = Extras()
        self._free = array("I")
        self._rows = Column(_ROW)
        self._sizes = Column("<u2")
        self._places = Column("<u4")

    def __len__(self) -> int:
        """How many keys can be found."""
        return self._index.count

    def find(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """The keys that are here, with their rows; in no particular order."""
        return self._index.find(keys) if self._index.count else []

    def pack(self, items: Sequence[Item]) -> Array:
        """Take requests in whose keys are not here; returns their rows."""
        rows = self.store(items)
        self._index.insert(as_keys([key for key, _ in items]), rows)
        return rows

    def take(self, rows: Array) -> list[Item]:
        """Take requests out."""
        items = self.items(rows)
        self.remove(rows)
        return items

    def remove(self, rows: Array) -> None:
        """Forget requests."""
        self._index.remove(self._keys_of(rows))
        self.release(rows)

    def store(self, items: Sequence[Item]) -> Array:
        """Keep requests that nobody will find by their keys; returns their rows."""
        rows = self._allocate(len(items))
        heads = b"".join([key + value[:CLOSED_BYTES] for key, value in items])
        self._rows.values[rows] = np.frombuffer(heads, dtype=_ROW)
        self._put(rows, [value[CLOSED_BYTES:] for _, value in items])
        return rows

    def release(self, rows: Array) -> None:
        """Forget what was stored."""
        self._drop(rows)
        self._free.frombytes(rows.tobytes())

    def items(self, rows: Array) -> list[Item]:
        """Keys and values of rows."""
        heads = self._rows.values[rows].tobytes()
        sizes = self._sizes.values[rows].tolist()
        places = self._places.values[rows].tolist()
        starts = range(0, len(heads), _ROW_BYTES)
        extras = map(self._extras.get, sizes, places)
        return [
            (heads[start : start + KEY_BYTES], heads[start + KEY_BYTES : start + _ROW_BYTES] + extra)
            for start, extra in zip(starts, extras, strict=True)
        ]

    def change(self, rows: Array, values: Sequence[bytes]) -> None:
        """Give rows other values, of the same identity."""
        self._drop(rows)
        self._put(rows, [value[CLOSED_BYTES:] for value in values])

    def dump(self, rows: Array) -> Dumped:
        """Keys and values of rows."""
        sizes = self._sizes.values[rows]
        places = self._places.values[rows]
        heads = self._rows.values[rows]
        return Dumped(heads.tobytes(), sizes.tobytes(), self._extras.dump(sizes, places))

    def load(self, dumped: Dumped) -> int:
        """Become what `dump` told, as rows 0, 1, ...; must be new. Returns how many these are."""
        self._rows.load(dumped.rows)
        self._sizes.load(dumped.sizes)
        count = self._places.grow(self._rows.size) + self._rows.size
        sizes = self._sizes.values[:count]
        self._places.values[:count] = self._extras.load(sizes, dumped.extras)
        for start in range(0, count, _INDEXED_AT_ONCE):
            rows = np.arange(start, min(start + _INDEXED_AT_ONCE, count), dtype="<u4")
            self._index.insert(self._keys_of(rows), rows)
        return count

    def _keys_of(self, rows: Array) -> Array:
        found: Array = self._rows.values.view(_KEYS)["key"][rows]
        return found

    def _allocate(self, count: int) -> Array:
        rows = places_for(count, self._free, self._rows)
        for column in (self._sizes, self._places):
            column.grow(self._rows.size - column.size)
        return rows

    def _put(self, rows: Array, extras: Sequence[bytes]) -> None:
        sizes = np.fromiter(map(len, extras), dtype="<u2", count=len(extras))
        self._sizes.values[rows] = sizes
        self._places.values[rows] = self._extras.put(sizes, extras)

    def _drop(self, rows: Array) -> None:
        sizes = self._sizes.values[rows]
        self._extras.remove(sizes, self._places.values[rows])
