"""Proportions: no failure is not certainty."""

from __future__ import annotations

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import Pair
from tidegate.streams.inference import proportions


def test_two_sides_without_failures_may_still_differ() -> None:
    """0 of 300 against 0 of 300 leaves room on both sides, where means would say nothing."""
    nothing = Moments(300, 0.0, 0.0)
    got = proportions.compare([Pair(nothing, nothing)], 0.05, False)
    assert got is not None
    assert got.lower is not None
    assert got.upper is not None
    assert got.lower < 0.0 < got.upper
    assert got.upper == -got.lower


def test_a_level_without_failures_has_an_upper_bound_above_zero() -> None:
    """0 of 300 is at most about a few percent, not 0."""
    got = proportions.bound(Moments(300, 0.0, 0.0), 0.05)
    assert got is not None
    assert 0.003 < got.upper < 0.05
