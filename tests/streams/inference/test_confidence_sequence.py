"""The confidence sequence: its formula, and what it promises to people who peek."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from tidegate.streams.inference.confidence_sequence import OPTIMAL_N, rho_squared, standard_errors


@pytest.mark.parametrize("n", [10.0, 200.0, 1e3, 1e5])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_it_is_hardly_wider_than_the_exact_half_normal_mixture(n: float, alpha: float) -> None:
    """The closed form bounds the root of 2 exp(z^2/2 v) Phi(z sqrt v) / sqrt(n r + 1) = 1/alpha."""
    scaled = n * rho_squared(alpha)
    weight = scaled / (scaled + 1.0)

    def excess(z: float) -> float:
        log = z * z * weight / 2 + norm.logcdf(z * math.sqrt(weight)) + math.log(2)
        return float(log - 0.5 * math.log(scaled + 1.0) + math.log(alpha))

    exact = brentq(excess, 0.0, 50.0)
    assert exact <= standard_errors(n, alpha) <= exact * 1.02


def test_it_is_narrowest_near_the_number_it_is_tuned_for() -> None:
    """In units of the mean, relative to sqrt(n), nowhere better than near `OPTIMAL_N`."""
    widths = {n: standard_errors(n, 0.05) for n in (10.0, 100.0, OPTIMAL_N, 1e4, 1e6)}
    assert min(widths, key=widths.__getitem__) == OPTIMAL_N


def test_it_is_wider_than_the_test_for_one_look() -> None:
    """Freedom to peek has its price: more than the 1.64 standard errors of a single look."""
    assert standard_errors(OPTIMAL_N, 0.05) > 1.645


def test_peeking_after_every_event_keeps_the_error_rate() -> None:
    """Of 2,000 fair walks, watched at each of 2,000 steps, at most 5 % ever leave the bound."""
    rng = np.random.default_rng(6)
    steps = np.arange(1, 2_001)
    limits = np.array([standard_errors(float(n), 0.05) for n in steps]) * np.sqrt(steps)
    walks = rng.standard_normal((2_000, 2_000)).cumsum(axis=1)
    left = (walks > limits).any(axis=1).mean()
    naive = (walks > 1.645 * np.sqrt(steps)).any(axis=1).mean()
    assert left <= 0.05
    assert naive > 0.25
