"""A numpy array that grows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


_SMALL_BYTES: Final = 131_072
_RESERVE_BYTES: Final = 67_108_864


class Column:
    """The first `size` values of `values` count; look `values` up anew after each `grow`.

    What outgrows a small size gets room for very much more, and then doubles: reserve that was
    never touched is no memory, and C libraries map blocks so large one by one, so an old one is
    given back whole. Growing step by step left holes as large as the contents.
    """

    __slots__ = ("size", "values")

    def __init__(self, dtype: DTypeLike) -> None:
        self.values: Array = np.empty(0, dtype=dtype)
        self.size = 0

    def grow(self, count: int) -> int:
        """Append `count` values, of which nothing is known; returns the index of the first."""
        first, stop = self.size, self.size + count
        if stop > len(self.values):
            room = _SMALL_BYTES if stop * self.values.itemsize <= _SMALL_BYTES else _RESERVE_BYTES
            length = max(stop, 2 * len(self.values), room // self.values.itemsize)
            larger = np.empty(length, dtype=self.values.dtype)
            larger[:first] = self.values[:first]
            self.values = larger
        self.size = stop
        return first

    def load(self, octets: bytes) -> None:
        """Become the values with these bytes; must be new."""
        self.grow(len(octets) // self.values.itemsize)
        self.values[: self.size] = np.frombuffer(octets, dtype=self.values.dtype)
