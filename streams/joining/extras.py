"""Bytes of many sizes without an object each: what packed requests have beyond their identity."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.streams.joining.column import Column

Array = NDArray[Any]


@dataclass(slots=True)
class _Pool:
    """Values of one size, and the places that are free."""

    column: Column
    free: array[int] = field(default_factory=lambda: array("I"))


class Extras:
    """Values by size and place (u4), all of one size at a time, as octets: (values, size) of u1.

    A value without bytes has place 0, like others.
    """

    __slots__ = ("_pools",)

    def __init__(self) -> None:
        self._pools: dict[int, _Pool] = {}

    def get(self, size: int, places: Array) -> Array:
        """The values at these places."""
        if not size:
            return np.empty((len(places), 0), dtype=np.uint8)
        values = self._pools[size].column.values[places]
        return values.view(np.uint8).reshape(-1, size)

    def put(self, octets: Array) -> Array:
        """Keep values; returns their places."""
        count, size = octets.shape
        if not size:
            return np.zeros(count, dtype="<u4")
        pool = self._pools.get(size)
        if pool is None:
            pool = self._pools[size] = _Pool(Column(f"V{size}"))
        places = places_for(count, pool.free, pool.column)
        pool.column.values[places] = np.ascontiguousarray(octets).view(f"V{size}")[:, 0]
        return places

    def remove(self, size: int, places: Array) -> None:
        """Forget the values at these places."""
        if size:
            pool = self._pools[size]
            pool.free.frombytes(places.tobytes())
            if len(pool.free) == pool.column.size:
                del self._pools[size]


def places_for(count: int, free: array[int], column: Column) -> Array:
    """Places for as many values: free ones first, which are taken off the list, then new ones."""
    kept = max(0, len(free) - count)
    again = np.array(free[kept:], dtype="<u4")
    del free[kept:]
    first = column.grow(count - len(again))
    return np.concatenate([again, np.arange(first, column.size, dtype="<u4")])


def by_size(sizes: Array) -> Iterator[tuple[int, Array]]:
    """Sizes, ascending, and where each is."""
    for size in np.flatnonzero(np.bincount(sizes)).tolist():
        yield size, np.flatnonzero(sizes == size)
