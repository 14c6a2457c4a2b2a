"""Intervals: what worse means, for either goal."""

from __future__ import annotations

import pytest

from tidegate.streams.inference.interval import Interval, rounded


def interval(lower: float | None, upper: float | None) -> Interval:
    """An interval of which only the bounds matter."""
    return Interval(0.0, lower, upper, 0.05, 0.0, 0.0, 1.0, 1.0, False)


@pytest.mark.parametrize(
    ("lower", "upper", "decrease", "increase"),
    [
        (0.02, 0.04, (True, False), (False, True)),
        (-0.005, 0.04, (False, False), (False, True)),
        (-0.005, 0.005, (False, True), (False, True)),
        (-0.04, 0.005, (False, True), (False, False)),
        (-0.04, -0.02, (False, True), (True, False)),
        (None, None, (False, False), (False, False)),
    ],
)
def test_worse_and_within_the_limit(
    lower: float | None,
    upper: float | None,
    decrease: tuple[bool, bool],
    increase: tuple[bool, bool],
) -> None:
    """Worse is a rise where the goal is to decrease, a fall where it is to increase."""
    got = interval(lower, upper)
    assert (got.is_worse("decrease", 0.01), got.is_within("decrease", 0.01)) == decrease
    assert (got.is_worse("increase", 0.01), got.is_within("increase", 0.01)) == increase


def test_bounds_are_rounded_as_they_are_published() -> None:
    """Nine significant digits; no bound stays no bound."""
    assert rounded(0.1 + 0.2) == 0.3
    assert rounded(None) is None
