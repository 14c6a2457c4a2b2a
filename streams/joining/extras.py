"""Bytes of many sizes without an object each: what packed requests have beyond their identity."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
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
    """Values by size and place (u4). A value without bytes has any place."""

    __slots__ = ("_pools",)

    def __init__(self) -> None:
        self._pools: dict[int, _Pool] = {}

    def get(self, size: int, place: int) -> bytes:
        """The value at a place."""
        return self._pools[size].column.values[place].tobytes() if size else b""

    def put(self, sizes: Array, values: Sequence[bytes]) -> Array:
        """Keep values, of which the sizes are given; returns their places."""
        places = np.zeros(len(values), dtype="<u4")
        for size in _sizes(sizes):
            those = np.flatnonzero(sizes == size)
            found = values if len(those) == len(values) else [values[it] for it in those.tolist()]
            places[those] = self._put_alike(size, found)
        return places

    def remove(self, sizes: Array, places: Array) -> None:
        """Forget the values at these places."""
        for size in _sizes(sizes):
            pool = self._pools[size]
            pool.free.frombytes(places[sizes == size].tobytes())
            if len(pool.free) == pool.column.size:
                del self._pools[size]

    def dump(self, sizes: Array, places: Array) -> bytes:
        """Values of these sizes at these places: by size, then in the order given."""
        return b"".join(
            self._pools[size].column.values[places[sizes == size]].data
            for size in _sizes(sizes)
        )

    def load(self, sizes: Array, dumped: bytes) -> Array:
        """Become what `dump` told of values of these sizes; returns their places."""
        self._pools = {}
        places = np.zeros(len(sizes), dtype="<u4")
        start = 0
        for size in _sizes(sizes):
            those = np.flatnonzero(sizes == size)
            places[those] = np.arange(len(those))
            stop = start + size * len(those)
            pool = self._pools[size] = _Pool(Column(f"V{size}"))
            pool.column.load(dumped[start:stop])
            start = stop
        return places

    def _put_alike(self, size: int, values: Sequence[bytes]) -> Array:
        pool = self._pools.get(size)
        if pool is None:
            pool = self._pools[size] = _Pool(Column(f"V{size}"))
        places = places_for(len(values), pool.free, pool.column)
        pool.column.values[places] = np.frombuffer(b"".join(values), dtype=f"V{size}")
        return places


def places_for(count: int, free: array[int], column: Column) -> Array:
    """Places for as many values: free ones first, which are taken off the list, then new ones."""
    kept = max(0, len(free) - count)
    again = np.array(free[kept:], dtype="<u4")
    del free[kept:]
    first = column.grow(count - len(again))
    return np.concatenate([again, np.arange(first, column.size, dtype="<u4")])


def _sizes(sizes: Array) -> Iterator[int]:
    """Sizes of the values that have bytes, ascending."""
    return (size for size in np.unique(sizes).tolist() if size)
