"""Quantiles: exact bounds at any time, and their difference."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.streams.estimation.bins import Bins
from tidegate.streams.inference import quantiles


def binned(values: np.ndarray) -> Bins:
    """Bins of values."""
    bins = Bins()
    bins.feed(values)
    return bins


def latencies(seed: int, number: int, scale: float = 1.0) -> np.ndarray:
    """Log-normal times around 100 ms."""
    return scale * np.random.default_rng(seed).lognormal(4.6, 0.6, number)


def test_bounds_hold_the_estimate_and_narrow() -> None:
    """Lower below, upper above, nearer with more values; few values bound one side or none."""
    few, many = (quantiles.bound(binned(latencies(1, n)), 0.9, 0.05) for n in (500, 20_000))
    assert few is not None
    assert many is not None
    assert few.lower is not None
    assert few.upper is not None
    assert many.lower is not None
    assert many.upper is not None
    assert few.lower < many.lower < many.estimate < many.upper < few.upper
    tiny = quantiles.bound(binned(latencies(1, 20)), 0.99, 0.05)
    assert tiny is not None
    assert tiny.upper is None
    assert quantiles.bound(Bins(), 0.9, 0.05) is None
    assert quantiles.compare(Bins(), Bins(), 0.9, 0.05, True) is None


def test_peeking_keeps_the_error_rate() -> None:
    """p95 of 60 streams, looked at 12 times each: at most 5 % are ever bounded above it."""
    true = float(np.exp(4.6 + 0.6 * 1.6448536269514722))
    wrong = 0
    for seed in range(60):
        values, bins, missed = latencies(seed, 2_000), Bins(), False
        for part in np.array_split(values, 12):
            bins.feed(part)
            found = quantiles.bound(bins, 0.95, 0.05)
            assert found is not None
            missed = missed or (found.lower is not None and found.lower > true)
        wrong += missed
    assert wrong / 60 <= 0.05


@pytest.mark.parametrize(("relative", "limit"), [(True, 0.1), (False, 20.0)])
def test_a_slower_tail_is_told_from_an_equal_one(relative: bool, limit: float) -> None:
    """Half as slow again is worse by more than a tenth, and by more than 20 ms; equal is not."""
    control = binned(latencies(2, 40_000))
    worse = quantiles.compare(control, binned(latencies(3, 8_000, 1.5)), 0.95, 0.05, relative)
    equal = quantiles.compare(control, binned(latencies(4, 8_000)), 0.95, 0.05, relative)
    assert worse is not None
    assert equal is not None
    assert worse.is_worse("decrease", limit)
    assert not equal.is_worse("decrease", limit)
    assert worse.lower is not None
    assert worse.upper is not None
    assert worse.estimate is not None
    assert worse.lower < worse.estimate < worse.upper


def test_nothing_is_relative_to_nothing() -> None:
    """A control at 0 has no share of itself."""
    found = quantiles.compare(
        binned(np.zeros(5_000)), binned(np.ones(5_000)), 0.5, 0.05, relative=True
    )
    assert found is not None
    assert found.lower is None or found.lower > 0
