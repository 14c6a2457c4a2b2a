"""Difference of means: candidate against concurrent control, always valid.

Welch (1947) for the variance of the difference, arXiv 2103.06476 for the width at any time.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import Pair
from tidegate.streams.inference import difference, level
from tidegate.streams.inference.interval import Bound, Interval


def compare(pairs: Sequence[Pair], alpha: float, relative: bool) -> Interval | None:
    """The difference, or None while neither side varies."""
    return difference.interval(pairs, alpha, relative, binary=False)


def bound(moments: Moments, alpha: float) -> Bound | None:
    """The mean itself, or None while it does not vary."""
    return level.bound(moments, alpha, binary=False)
