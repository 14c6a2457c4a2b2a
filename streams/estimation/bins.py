"""How often values fell into bins of about equal relative width: a sketch of quantiles that merges.

The bin of a value is the front of its binary form (sign, exponent, 7 bits of the fraction), as in
HdrHistogram (Tene 2012) and, with logarithms, DDSketch (Masson, Rim, Lee, VLDB 2019): relative
width below 0.8 %. Counts are exact, so bounds that hold for counts hold for bins, and only bits are
moved: no logarithm whose last digit differs between machines decides where a value falls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tidegate.streams.estimation.moments import Floats

FRACTION_BITS = 7
_SHIFT = 52 - FRACTION_BITS
_SIGN = 1 << (63 - _SHIFT)


class Bins:
    """Exact counts by bin.

    >>> bins = Bins()
    >>> bins.feed(np.array([10.0, 10.0, 20.0, -3.0]))
    >>> bins.n, bins.above(10.5), bins.above(-5.0)
    (4, 1, 4)
    """

    __slots__ = ("_counts", "n")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.n = 0

    def feed(self, values: Floats) -> None:
        """Takes values, shape (n,), finite."""
        keys, counts = np.unique(_keys(values), return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            self._counts[key] = self._counts.get(key, 0) + count
        self.n += len(values)

    def absorb(self, other: Bins) -> None:
        """Adds other counts."""
        for key, count in other._counts.items():
            self._counts[key] = self._counts.get(key, 0) + count
        self.n += other.n

    def descending(self) -> Iterator[tuple[float, float, int]]:
        """(lower edge, upper edge, count) of each bin that holds values, from the top."""
        for key in sorted(self._counts, reverse=True):
            low, high = _edges(key)
            yield low, high, self._counts[key]

    def above(self, bound: float) -> int:
        """Values that are surely above `bound`: those of bins that lie above it as a whole."""
        limit = int(_keys(np.array([bound]))[0])
        return sum(count for key, count in self._counts.items() if key > limit)

    def quantile(self, share: float) -> float | None:
        """The middle of the bin in which the quantile lies, None without values."""
        left = (1.0 - share) * self.n
        for low, high, count in self.descending():
            left -= count
            if left < 0.0:
                return (low + high) / 2
        return None

    def to_state(self) -> list[list[int]]:
        """(bin, count), ascending."""
        return [[key, self._counts[key]] for key in sorted(self._counts)]

    @classmethod
    def from_state(cls, state: list[list[int]]) -> Bins:
        """The inverse of `to_state`."""
        bins = cls()
        for key, count in state:
            bins._counts[key] = count
        bins.n = sum(bins._counts.values())
        return bins


def _keys(values: Floats) -> Any:
    """Ascending with the values: bits of positive doubles are ordered like them."""
    # Adding 0 makes -0.0 the 0.0 that it is.
    bits = (np.asarray(values, dtype=np.float64) + 0.0).view(np.int64) >> _SHIFT
    return np.where(bits >= 0, bits, -_SIGN - bits - 1)


def _edges(key: int) -> tuple[float, float]:
    if key >= 0:
        return _value(key), _value(key + 1)
    mirrored = -key - 1
    return -_value(mirrored + 1), -_value(mirrored)


def _value(key: int) -> float:
    return float(np.array([key << _SHIFT], dtype=np.int64).view(np.float64)[0])
