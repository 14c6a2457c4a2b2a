"""Means: compared with control, and alone."""

from __future__ import annotations

import pytest

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import Pair
from tidegate.streams.inference import METHODS, means, method_for


def test_means_use_the_samples_own_variance() -> None:
    """Four times the variance, twice the width."""
    narrow, wide = (
        means.compare([Pair(Moments(500, 0.0, v), Moments(500, 0.0, v))], 0.05, False)
        for v in (1.0, 4.0)
    )
    assert narrow is not None
    assert wide is not None
    assert wide.upper == pytest.approx(2 * (narrow.upper or 0.0))


def test_a_level_lies_within_its_bounds() -> None:
    """The mean alone has bounds on both sides; without variance there are none."""
    got = means.bound(Moments(400, 7.0, 16.0), 0.05)
    assert got is not None
    assert got.lower < got.estimate == 7.0 < got.upper
    assert means.bound(Moments(400, 7.0, 0.0), 0.05) is None


def test_the_method_follows_the_metric() -> None:
    """Zeros and ones are proportions, everything else means."""
    assert method_for(True) is METHODS["proportions"]
    assert method_for(False) is METHODS["means"]
