"""Differences over strata: estimates, Fieller's ratios, and error rates under peeking."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.plan import Goal
from tidegate.streams.estimation.strata import Pair
from tidegate.streams.inference.confidence_sequence import standard_errors
from tidegate.streams.inference.difference import interval


def proportion(n: float, successes: float) -> Moments:
    """Moments of 0s and 1s."""
    mean = successes / n
    return Moments(n, mean, mean * (1 - mean) * n / (n - 1) if n > 1 else 0.0)


def test_the_estimate_is_the_mantel_haenszel_risk_difference() -> None:
    """Strata combine as sum(x1 n0 / n - x0 n1 / n) / sum(n1 n0 / n), by hand."""
    counts = [(12, 200, 30, 1_000), (50, 500, 20, 300)]
    pairs = [Pair(proportion(n0, x0), proportion(n1, x1)) for x1, n1, x0, n0 in counts]
    got = interval(pairs, 0.05, False, True)
    assert got is not None
    above = sum((x1 * n0 - x0 * n1) / (n1 + n0) for x1, n1, x0, n0 in counts)
    below = sum(n1 * n0 / (n1 + n0) for _, n1, _, n0 in counts)
    assert got.estimate == pytest.approx(above / below)
    assert (got.n_control, got.n_candidate) == (1_300, 700)


def test_one_stratum_has_the_standard_error_of_welch() -> None:
    """Bounds are the difference and so many of statsmodels' unpooled standard errors."""
    rng = np.random.default_rng(11)
    control, candidate = rng.normal(10.0, 3.0, 4_000), rng.normal(10.5, 4.0, 1_000)
    rows = [Moments(len(x), float(x.mean()), float(x.var(ddof=1))) for x in (control, candidate)]
    got = interval([Pair(*rows)], 0.05, False, False)
    assert got is not None
    oracle = CompareMeans(DescrStatsW(candidate), DescrStatsW(control))
    radius = standard_errors(800.0, 0.05) * oracle.std_meandiff_separatevar
    difference = candidate.mean() - control.mean()
    assert got.estimate == pytest.approx(difference)
    assert got.lower == pytest.approx(difference - radius)
    assert got.upper == pytest.approx(difference + radius)


def test_relative_bounds_are_those_at_which_the_contrast_is_zero() -> None:
    """At each of Fieller's ratios r, candidate - r control is exactly its own bound away from 0."""
    control, candidate = Moments(5_000, 0.10, 0.09), Moments(5_000, 0.08, 0.0736)
    got = interval([Pair(control, candidate)], 0.05, True, False)
    assert got is not None
    assert got.estimate == pytest.approx(-0.2)
    for edge in (got.lower, got.upper):
        assert edge is not None
        ratio = 1.0 + edge
        spread = (0.0736 / 5_000 + ratio**2 * 0.09 / 5_000) ** 0.5
        distance = abs(candidate.mean - ratio * control.mean)
        assert distance == pytest.approx(standard_errors(2_500.0, 0.05) * spread, rel=1e-6)


def test_nothing_is_said_where_nothing_is_known() -> None:
    """No pairs, nothing that varies, or a control not surely above 0: no statement."""
    assert interval([], 0.05, False, True) is None
    constant = Pair(Moments(500, 1.0, 0.0), Moments(500, 1.0, 0.0))
    assert interval([constant], 0.05, False, False) is None
    weak = interval([Pair(Moments(20, 0.1, 4.0), Moments(20, 3.0, 4.0))], 0.05, True, False)
    assert weak is not None
    assert (weak.lower, weak.upper) == (None, None)
    nothing = interval([Pair(Moments(20, 0.0, 4.0), Moments(20, 3.0, 4.0))], 0.05, True, False)
    assert nothing is not None
    assert nothing.estimate is None


def test_a_candidate_that_always_gives_nothing_is_no_certainty_and_no_shelter() -> None:
    """A side without variance borrows the other's: a silent candidate is judged, not trusted."""
    got = interval([Pair(Moments(5_000, 10.0, 100.0), Moments(500, 0.0, 0.0))], 0.05, False, False)
    assert got is not None
    assert got.is_worse("increase", 1.0)
    assert got.lower is not None
    assert got.lower < -10.0


def alarms(
    rates: tuple[float, float], share: float, limit: float, relative: bool, runs: int, seed: int
) -> float:
    """Share of runs in which a guardrail, looked at every 200 requests, ever breaks."""
    rng = np.random.default_rng(seed)
    goal: Goal = "decrease" if rates[1] >= rates[0] else "increase"
    broken = 0
    for _ in range(runs):
        sides = rng.random((100, 200)) < share
        drawn = rng.random((100, 200))
        wins = np.where(sides, drawn < rates[1], drawn < rates[0])
        n = np.cumsum([(~sides).sum(axis=1), sides.sum(axis=1)], axis=1)
        s = np.cumsum([(wins & ~sides).sum(axis=1), (wins & sides).sum(axis=1)], axis=1)
        for (n0, n1), (s0, s1) in zip(n.T, s.T, strict=True):
            got = interval([Pair(proportion(n0, s0), proportion(n1, s1))], 0.05, relative, True)
            if n1 >= 100 and got is not None and got.is_worse(goal, limit):
                broken += 1
                break
    return broken / runs


@pytest.mark.parametrize(
    ("rates", "share", "limit", "relative"),
    [
        ((0.01, 0.02), 0.1, 0.01, False),
        ((0.05, 0.05), 0.5, 0.0, False),
        ((0.20, 0.18), 0.3, 0.10, True),
    ],
)
def test_a_candidate_at_the_limit_is_seldom_blamed(
    rates: tuple[float, float], share: float, limit: float, relative: bool
) -> None:
    """Exactly at the margin, with 100 looks: at most 5 % false alarms (150 fixed runs)."""
    assert alarms(rates, share, limit, relative, 150, 7) <= 0.05


def test_a_bad_candidate_is_found() -> None:
    """Errors 4 % against 1 %, limit 1 pp, a tenth of the traffic: found within 20,000 requests."""
    assert alarms((0.01, 0.04), 0.1, 0.01, False, 40, 8) >= 0.95
