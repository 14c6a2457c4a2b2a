"""P(best): against closed forms, draws and scipy's quadrature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln
from scipy.stats import norm

from tidegate.streams.estimation.strata import Arm
from tidegate.streams.inference.best import integrals, probabilities


def normal(name: str, mean: float, deviation: float) -> Arm:
    """An arm with a Normal posterior."""
    return Arm(name, 1_000.0, mean, deviation**2)


def proportion(name: str, n: int, successes: int) -> Arm:
    """An arm of zeros and ones."""
    rate = (successes + 0.5) / (n + 1)
    return Arm(name, n, successes / n, rate * (1 - rate) / n, True)


def test_two_normals_have_a_closed_form() -> None:
    """P(b > a) = Phi(difference / root of summed variances)."""
    got = probabilities([normal("a", 1.0, 0.2), normal("b", 1.3, 0.4)], "increase")
    assert got is not None
    assert got["b"] == pytest.approx(norm.cdf(0.3 / (0.04 + 0.16) ** 0.5), abs=1e-9)


def test_two_betas_have_a_closed_form() -> None:
    """Evan Miller's sum (2015) for P(b > a) with Beta posteriors of small counts."""
    arms = [proportion("a", 40, 4), proportion("b", 30, 6)]
    got = probabilities(arms, "increase")
    a1, b1, a2, b2 = 5, 37, 7, 25
    exact = sum(
        np.exp(betaln(a1 + i, b1 + b2) - np.log(b2 + i) - betaln(1 + i, b2) - betaln(a1, b1))
        for i in range(a2)
    )
    assert got is not None
    assert got["b"] == pytest.approx(exact, abs=0.01)


def test_draws_agree() -> None:
    """A million draws of four Normals with deviations a thousandfold apart, within 0.002."""
    arms = [normal("a", 0.0, 1.0), normal("b", 0.1, 0.001), normal("c", 0.2, 0.5),
            normal("d", -2.0, 2.0)]  # fmt: skip
    rng = np.random.default_rng(10)
    draws = np.stack([rng.normal(a.mean, a.mean_variance**0.5, 1_000_000) for a in arms])
    counts = np.bincount(draws.argmax(axis=0), minlength=4) / 1_000_000
    got = probabilities(arms, "increase")
    assert got is not None
    assert list(got.values()) == pytest.approx(counts, abs=0.002)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1e3, 1e3), st.floats(1e-4, 1e3), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["increase", "decrease"]),
)
def test_the_integrals_add_up(arms: list[tuple[float, float, bool]], goal: str) -> None:
    """Without scaling, probabilities sum to 1 within 1e-6, whatever means and deviations."""
    made = [
        proportion(f"b{i}", 10 + int(abs(mean)), int(abs(mean) / 7)) if binary
        else normal(f"n{i}", mean, deviation)
        for i, (mean, deviation, binary) in enumerate(arms)
    ]  # fmt: skip
    found = integrals(made, goal)  # type: ignore[arg-type]  # hypothesis gives str
    assert found is not None
    assert sum(found) == pytest.approx(1.0, abs=1e-6)


def test_the_goal_turns_the_order_around() -> None:
    """Best of two is the larger to increase, the smaller to decrease."""
    arms = [proportion("a", 5_000, 900), proportion("b", 5_000, 1_100)]
    up, down = probabilities(arms, "increase"), probabilities(arms, "decrease")
    assert up is not None
    assert down is not None
    assert up["b"] > 0.99
    assert up["b"] == pytest.approx(down["a"])


def test_arms_that_never_varied_and_are_equal_share_alike() -> None:
    """Zero variance is no division by zero and no preference."""
    got = probabilities([Arm("a", 50, 1.0, 0.0), Arm("b", 50, 1.0, 0.0)], "increase")
    assert got is not None
    assert got == pytest.approx({"a": 0.5, "b": 0.5})


def test_a_mean_that_rounding_keeps_from_1_has_a_probability() -> None:
    """Everyone converted, and combining strata left 1 - 1e-16: the density stays finite."""
    arms = (Arm("champion", 4.0, 0.9999999999999999, 0.02295918367346938, True),
            Arm("challenger", 3.0, 0.0, 0.03794642857142857, True))  # fmt: skip
    whole = (replace(arms[0], mean=1.0), arms[1])
    found, wanted = probabilities(arms, "increase"), probabilities(whole, "increase")
    assert found is not None
    assert wanted is not None
    assert found["champion"] == pytest.approx(wanted["champion"], rel=1e-9)


def test_without_data_nothing_is_said() -> None:
    """An arm without observations, or no arm: None."""
    assert probabilities([], "increase") is None
    assert probabilities([normal("a", 0, 1), Arm("b", 0, 0, 0)], "increase") is None
    broken = [normal("a", float("nan"), 1.0), normal("b", 0, 1)]
    assert probabilities(broken, "increase") is None
