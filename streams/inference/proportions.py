"""Difference of proportions: candidate against concurrent control, always valid.

The sequence is that of means (arXiv 2103.06476, 2021); variances get half a success and half a
failure, since a side without failures is not certain to have none.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import Pair
from tidegate.streams.inference import difference, level
from tidegate.streams.inference.interval import Bound, Interval


def compare(pairs: Sequence[Pair], alpha: float, relative: bool) -> Interval | None:
    """The difference, or None without observations on both sides."""
    return difference.interval(pairs, alpha, relative, binary=True)


def bound(moments: Moments, alpha: float) -> Bound | None:
    """The proportion itself, or None without observations."""
    return level.bound(moments, alpha, binary=True)
