"""The test that is made once: its p-values, when it is due, and its error rates, by oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import Pair
from tidegate.streams.inference.fixed_horizon import holm, information_share, welch


def moments(values: np.ndarray) -> Moments:
    """Moments of a sample."""
    return Moments(len(values), float(values.mean()), float(values.var(ddof=1)))


def test_one_stratum_is_welchs_test() -> None:
    """Statistic, p-value and interval are scipy's."""
    rng = np.random.default_rng(3)
    control, candidate = rng.normal(10.0, 3.0, 400), rng.normal(10.4, 5.0, 90)
    got = welch([Pair(moments(control), moments(candidate))], 0.05)
    oracle = stats.ttest_ind(candidate, control, equal_var=False)
    edges = oracle.confidence_interval(0.95)
    assert got is not None
    assert got.p_value == pytest.approx(oracle.pvalue, rel=1e-8)
    assert (got.lower, got.upper) == pytest.approx((edges.low, edges.high), rel=1e-8)
    assert (got.n_control, got.n_candidate) == (400, 90)


def test_equal_strata_say_what_one_says() -> None:
    """Cut in two at random, a sample has nearly the same p-value: nothing is counted twice."""
    rng = np.random.default_rng(5)
    control, candidate = rng.normal(0.0, 1.0, 4_000), rng.normal(0.05, 1.0, 4_000)
    whole = welch([Pair(moments(control), moments(candidate))], 0.05)
    halves = [
        Pair(moments(control[part]), moments(candidate[part]))
        for part in (slice(0, 2_000), slice(2_000, 4_000))
    ]
    cut = welch(halves, 0.05)
    assert whole is not None
    assert cut is not None
    assert cut.estimate == pytest.approx(whole.estimate)
    assert cut.standard_error == pytest.approx(whole.standard_error, rel=0.01)


def test_strata_undo_a_moving_base_rate() -> None:
    """Simpson: the pooled difference would be +0.2 where there is none."""
    low, high = Moments(900, 0.1, 0.09), Moments(100, 0.1, 0.09)
    pairs = [Pair(low, high), Pair(Moments(100, 0.5, 0.25), Moments(900, 0.5, 0.25))]
    got = welch(pairs, 0.05)
    assert got is not None
    assert got.estimate == 0.0
    assert got.p_value == 1.0


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [Pair(Moments(10, 1.0, 0.0), Moments(10, 1.0, 0.0))],
        [Pair(Moments(1, 1.0, 0.0), Moments(10, 1.0, 1.0))],
    ],
)
def test_where_nothing_varies_nothing_is_said(pairs: list[Pair]) -> None:
    """No evidence is not a p-value of 0 or 1."""
    assert welch(pairs, 0.05) is None


@pytest.mark.parametrize(("ratio", "alpha", "power"), [(1.0, 0.05, 0.8), (3.0, 0.01, 0.9)])
def test_information_is_complete_at_the_planned_sample_size(
    ratio: float, alpha: float, power: float
) -> None:
    """With known spread the information-based plan is the classic sample size (statsmodels)."""
    delta, spread = 0.2, 1.7
    n = NormalIndPower().solve_power(
        effect_size=delta / spread, alpha=alpha, power=power, ratio=ratio, alternative="two-sided"
    )
    variance = spread**2
    got = welch([Pair(Moments(n, 0.0, variance), Moments(n * ratio, 0.1, variance))], alpha)
    assert got is not None
    assert information_share(got, delta, alpha, power) == pytest.approx(1.0, rel=1e-4)


@given(st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=12))
def test_holm_is_statsmodels_holm(p_values: list[float]) -> None:
    """Adjusted p-values of any family."""
    names = [f"v{number:02d}" for number in range(len(p_values))]
    got = holm(dict(zip(names, p_values, strict=True)))
    wanted = multipletests(p_values, method="holm")[1]
    assert [got[name] for name in names] == pytest.approx(list(wanted), rel=1e-8)
