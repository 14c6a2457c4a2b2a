"""Moments: exact at any offset, mergeable, weighted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from tidegate.streams.estimation.moments import Moments, Sample, grouped


def sampled(values: np.ndarray, weights: np.ndarray | None, parts: int) -> Sample:
    """A sample of all values, taken in several batches."""
    sample = Sample()
    for part in np.array_split(np.arange(len(values)), parts):
        groups = np.zeros(len(part), dtype=np.int64)
        chosen = None if weights is None else weights[part]
        (moments,) = grouped(groups, 1, values[part], chosen)
        if moments is not None:
            sample.merge(*moments)
    return sample


@pytest.mark.parametrize("offset", [0.0, 1e9, 1.7e12])
def test_variance_holds_at_any_offset(offset: float) -> None:
    """Values around the present time in ms have the variance of the same values around 0."""
    values = np.random.default_rng(1).normal(size=10_000)
    got = sampled(values + offset, None, 7).moments()
    assert got.n == 10_000
    assert got.mean == pytest.approx(offset + values.mean(), rel=1e-12)
    assert got.variance == pytest.approx((values + offset).var(ddof=1), rel=1e-4)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50), st.integers(1, 9))
def test_batches_do_not_matter(values: list[float], parts: int) -> None:
    """Count, mean and variance are those of all values, however they were batched."""
    array = np.array(values)
    got = sampled(array, None, parts).moments()
    assert got.n == len(values)
    assert got.mean == pytest.approx(array.mean(), abs=1e-6)
    assert got.variance == pytest.approx(array.var(ddof=1), rel=1e-6, abs=1e-6)


def test_weighted_mean_and_variance_agree_with_statsmodels() -> None:
    """Sample weights give statsmodels' weighted mean, and Kish's number of observations."""
    rng = np.random.default_rng(2)
    values, weights = rng.normal(size=500), rng.uniform(1, 20, size=500)
    got = sampled(values, weights, 4).moments()
    oracle = DescrStatsW(values, weights, ddof=0)
    n = weights.sum() ** 2 / (weights**2).sum()
    assert got.n == pytest.approx(n)
    assert got.mean == pytest.approx(oracle.mean)
    assert got.variance == pytest.approx(oracle.var * n / (n - 1))


def test_nothing_and_one_observation_have_no_variance() -> None:
    """Empty samples are all 0, also merged into each other; one value has variance 0."""
    empty = Sample()
    empty.absorb(Sample())
    assert empty.moments() == Moments(0.0, 0.0, 0.0)
    empty.merge(1.0, 1.0, 5.0, 0.0)
    assert empty.moments() == Moments(1.0, 5.0, 0.0)


def test_groups_are_apart_and_empty_ones_are_none() -> None:
    """Each group has its own moments; without rows there are none at all."""
    groups = np.array([0, 2, 2], dtype=np.int64)
    found = grouped(groups, 4, np.array([1.0, 2.0, 4.0]), None)
    assert found == [(1.0, 1.0, 1.0, 0.0), None, (2.0, 2.0, 3.0, 2.0), None]
    assert grouped(groups[:0], 2, np.array([]), None) == [None, None]


def test_state_is_exact() -> None:
    """A sample that was read back goes on to the last bit."""
    values = np.random.default_rng(3).normal(size=99)
    one = sampled(values, None, 3)
    other = Sample.from_state(one.to_state())
    assert other.to_state() == one.to_state()
    one.merge(3.0, 3.0, 0.1, 0.7)
    other.merge(3.0, 3.0, 0.1, 0.7)
    assert other.to_state() == one.to_state()
