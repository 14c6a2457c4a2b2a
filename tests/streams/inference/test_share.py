"""Shares: exact bounds at any time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta, binom

from tidegate.streams.inference import share


@pytest.mark.parametrize(("n", "successes", "at"), [(50, 5, 0.05), (400, 9, 0.01), (30, 0, 0.2)])
def test_the_evidence_is_the_mixture_integrated(n: int, successes: int, at: float) -> None:
    """The closed form is the likelihood ratio averaged over a prior that is cut off at the null."""

    def integrand(q: float) -> float:
        ratio = binom.pmf(successes, n, q) / binom.pmf(successes, n, at)
        return float(ratio * beta.pdf(q, 0.5, 0.5))

    mixed = quad(integrand, at, 1.0, limit=200)[0] / beta.sf(at, 0.5, 0.5)
    assert share.log_evidence(n, successes, at) == pytest.approx(math.log(mixed), rel=1e-6)


def test_bounds_hold_the_estimate_and_narrow() -> None:
    """Lower below, upper above, nearer with more requests; nothing seen says nothing."""
    few, many = share.bound(100, 2, 0.05), share.bound(10_000, 200, 0.05)
    assert 0.0 < few.lower < many.lower < 0.02 < many.upper < few.upper < 1.0
    nothing = share.bound(0, 0, 0.05)
    assert (nothing.lower, nothing.upper) == (0.0, 1.0)
    assert share.bound(100, 0, 0.05).lower == 0.0
    assert share.bound(100, 100, 0.05).upper == 1.0


def test_hopeless_evidence_is_no_evidence() -> None:
    """Where nothing of the posterior lies beyond the null, the evidence is zero, not an error."""
    assert share.log_evidence(100_000, 0, 0.9) == -math.inf


def test_peeking_after_every_request_keeps_the_error_rate() -> None:
    """2 % true share, limit 2 %: of 300 streams at most 5 % are ever blamed in 3,000 looks."""
    rng = np.random.default_rng(9)
    counts = (rng.random((300, 3_000)) < 0.02).cumsum(axis=1)
    looks = np.arange(99, 3_000, 20)
    blamed = sum(
        any(share.log_evidence(int(i) + 1, int(row[i]), 0.02) >= math.log(20) for i in looks)
        for row in counts
    )
    assert blamed / 300 <= 0.05


def test_a_slow_tail_is_found() -> None:
    """5 % above a bound that 1 % may exceed is found within 500 requests."""
    assert share.bound(500, 25, 0.05).lower > 0.01
