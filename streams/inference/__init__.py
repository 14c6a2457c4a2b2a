"""Intervals and tests, one method a file; all are valid at whatever time one looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import Pair
from tidegate.streams.inference import means, proportions
from tidegate.streams.inference.interval import Bound, Interval


class Comparison(Protocol):
    """Compares a candidate with concurrent control, by stratum."""

    def __call__(self, pairs: Sequence[Pair], alpha: float, relative: bool) -> Interval | None:
        """None when nothing can be said yet."""


class Level(Protocol):
    """Bounds one variant's own level."""

    def __call__(self, moments: Moments, alpha: float) -> Bound | None:
        """None when nothing can be said yet."""


@dataclass(frozen=True, slots=True)
class Method:
    """How one type of metric is judged."""

    compare: Comparison
    bound: Level


METHODS: Final[Mapping[str, Method]] = {
    "means": Method(means.compare, means.bound),
    "proportions": Method(proportions.compare, proportions.bound),
}


def method_for(binary: bool) -> Method:
    """The method for a metric."""
    return METHODS["proportions" if binary else "means"]


__all__ = ["METHODS", "Bound", "Comparison", "Interval", "Level", "Method", "method_for"]
