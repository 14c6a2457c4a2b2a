"""Strata: within one routing version, and not across, variants are compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import (
    Strata,
    arms_of,
    mean_variance,
    pairs_of,
    within_variance,
)


def filled(strata: Strata, version: int, **counts: int) -> None:
    """Exposures under a routing version, all with value 1."""
    stratum = strata.at((0, version))
    for variant, count in counts.items():
        stratum.exposures[variant] = stratum.exposures.get(variant, 0) + count
        stratum.sample("m", variant).merge(count, count, 1.0, 0.0)


def keys(strata: Strata) -> list[tuple[int, int]]:
    """(first, last) version of each stratum."""
    return [(item.first[1], item.last[1]) for item in strata.since((0, 0))]


def test_neighbours_with_equal_shares_merge_first() -> None:
    """Beyond the bound, versions that split traffic alike are pooled, others are not."""
    strata = Strata(4)
    for version, share in enumerate((900, 890, 500, 100, 100, 700)):
        filled(strata, version, a=share, b=1000 - share)
    strata.settle()
    assert keys(strata) == [(0, 1), (2, 2), (3, 4), (5, 5)]


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 5))
def test_the_number_of_strata_is_bounded_and_nothing_is_lost(
    versions: list[int], limit: int
) -> None:
    """Whatever comes in whatever order, strata stay few, disjoint and ascending; counts add up."""
    strata = Strata(limit)
    for version in versions:
        filled(strata, version, a=1)
        strata.settle()
        assert len(strata) <= limit
    edges = [edge for pair in keys(strata) for edge in pair]
    assert edges == sorted(edges)
    assert sum(item.exposures["a"] for item in strata.since((0, 0))) == len(versions)
    total = sum(item.samples["m", "a"].moments().n for item in strata.since((0, 0)))
    assert total == len(versions)


def test_a_late_fact_goes_to_the_stratum_that_covers_its_version() -> None:
    """After merging, an old version's facts find the stratum it became part of."""
    strata = Strata(1)
    for version in (3, 5):
        filled(strata, version, a=1)
        strata.settle()
    assert strata.at((0, 4)) is strata.at((0, 3))
    assert keys(strata) == [(3, 5)]


def test_state_comes_back_equal() -> None:
    """Read back, strata say the same."""
    strata, other = Strata(5), Strata(5)
    filled(strata, 1, b=2, a=1)
    filled(strata, 0, a=3)
    other.from_state(strata.to_state())
    assert other.to_state() == strata.to_state()
    assert keys(other) == [(0, 0), (1, 1)]


def simpson(seed: int) -> Strata:
    """Base rate rises from .05 to .15 while b's share goes from .1 to .9; true effect -.01."""
    rng = np.random.default_rng(seed)
    strata = Strata(64)
    for version in range(9):
        share = 0.1 + 0.1 * version
        base = 0.05 + 0.0125 * version
        for name, count, rate in (
            ("a", int(4000 * (1 - share)), base), ("b", int(4000 * share), base - 0.01),
        ):  # fmt: skip
            values = rng.random(count) < rate
            stratum = strata.at((0, version))
            stratum.exposures[name] = count
            mean = float(values.mean())
            stratum.sample("m", name).merge(count, count, mean, count * mean * (1 - mean))
    return strata


def test_means_are_comparable_although_weights_moved() -> None:
    """Simpson's trap: pooled, the worse arm looks better by .02; by stratum, worse by .01."""
    differences, pooled = [], []
    for seed in range(30):
        strata = simpson(seed)
        a, b = arms_of(strata.since((0, 0)), "m", ("a", "b"), binary=True)
        differences.append(b.mean - a.mean)
        rows = [[s.samples["m", name].moments() for s in strata.since((0, 0))] for name in "ab"]
        means = [sum(r.n * r.mean for r in row) / sum(r.n for r in row) for row in rows]
        pooled.append(means[1] - means[0])
    assert np.mean(pooled) > 0.015
    assert np.mean(differences) == pytest.approx(-0.01, abs=0.001)
    assert np.std(differences) == pytest.approx((a.mean_variance + b.mean_variance) ** 0.5, rel=0.4)


def test_strata_that_lack_a_variant_say_nothing() -> None:
    """Neither pairs nor arms use a version in which one side has no observations."""
    strata = Strata(9)
    filled(strata, 0, a=10)
    filled(strata, 1, a=10, b=10)
    found = strata.since((0, 0))
    assert len(pairs_of(found, "m", "a", "b")) == 1
    assert [arm.n for arm in arms_of(found, "m", ("a", "b"), False)] == [10.0, 10.0]
    assert [arm.n for arm in arms_of(found, "m", ("a", "c"), False)] == [0.0, 0.0]


def test_proportions_without_failures_are_not_certain() -> None:
    """No failure in 200 requests has the variance of half a failure in 201."""
    rate = 0.5 / 201
    got = mean_variance([Moments(200, 0.0, 0.0)], [1.0], True, 0.0)
    assert got == pytest.approx(rate * (1 - rate) / 200)


def test_a_stratum_of_one_borrows_the_pooled_variance() -> None:
    """A single observation has no variance of its own."""
    rows = [Moments(100, 0.0, 4.0), Moments(1, 0.0, 0.0)]
    assert within_variance(rows) == 4.0
    assert mean_variance(rows, [0.0, 1.0], False, 4.0) == 4.0
    assert within_variance([Moments(1, 3.0, 0.0)]) == 0.0
