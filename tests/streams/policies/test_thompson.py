"""Thompson sampling: shares are probabilities, moved when it matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.streams.estimation.strata import Arm
from tidegate.streams.policies import PolicySettings, thompson
from tidegate.streams.policies.shares import total_variation_bp

SETTINGS = PolicySettings(floor_bp=500)
EQUAL = {"a": 5_000, "b": 5_000}


def arms(n: float, *means: float) -> list[Arm]:
    """Arms of zeros and ones with equal counts."""
    return [
        Arm(name, n, mean, mean * (1 - mean) / n if n else 0.0, True)
        for name, mean in zip("abc", means, strict=False)
    ]


def test_the_better_arm_gets_its_probability_and_the_floor_holds() -> None:
    """f + (1 - 2 f) P(best), in basis points."""
    got = thompson.allocate(arms(500, 0.10, 0.14), EQUAL, SETTINGS)
    assert got.probabilities is not None
    assert got.weights["b"] == pytest.approx(500 + 9_000 * got.probabilities["b"], abs=1)
    sure = thompson.allocate(arms(1e6, 0.10, 0.20), EQUAL, SETTINGS)
    assert sure.weights == {"a": 500, "b": 9_500}


def test_to_decrease_is_to_prefer_the_smaller() -> None:
    """The goal turns the preference around."""
    got = thompson.allocate(arms(1e6, 0.10, 0.20), EQUAL, replace(SETTINGS, goal="decrease"))
    assert got.weights == {"a": 9_500, "b": 500}


def test_nothing_is_learnt_before_there_is_enough() -> None:
    """One arm short of its minimum, or without data, keeps all shares."""
    for n in (0, 99):
        got = thompson.allocate(arms(n, 0.1, 0.9), EQUAL, SETTINGS)
        assert (got.weights, got.moved, got.probabilities) == (EQUAL, False, None)


def test_small_changes_are_not_published() -> None:
    """Shares stay until they are off by 5 % in total variation; a smaller bound publishes."""
    near = arms(500, 0.100, 0.1003)
    assert not thompson.allocate(near, EQUAL, SETTINGS).moved
    assert thompson.allocate(near, EQUAL, replace(SETTINGS, min_change_bp=10)).moved


def test_no_step_is_longer_than_allowed() -> None:
    """Sure or not, a share moves by the cap at most, and gets there in steps."""
    settings = replace(SETTINGS, max_change_bp=1_000)
    shares = EQUAL
    steps = []
    for _ in range(6):
        got = thompson.allocate(arms(1e6, 0.1, 0.2), shares, settings)
        steps.append(got.weights["b"])
        shares = dict(got.weights)
    assert steps == [6_000, 7_000, 8_000, 9_000, 9_500, 9_500]


def test_shares_below_the_floor_are_lifted_at_once() -> None:
    """A new arm starts at its floor, without evidence and in spite of hysteresis."""
    got = thompson.allocate(arms(0, 0.0, 0.0), {"a": 10_000, "b": 0}, SETTINGS)
    assert (got.weights, got.moved) == ({"a": 9_500, "b": 500}, True)


def test_arms_that_are_left_share_what_a_lost_one_had() -> None:
    """Without the third arm the others keep their proportion; without any share they are equal."""
    left = thompson.allocate(arms(0, 0, 0), {"a": 6_000, "b": 2_000, "c": 2_000}, SETTINGS)
    assert left.weights == {"a": 7_250, "b": 2_750}
    assert thompson.allocate(arms(0, 0, 0), {}, SETTINGS).weights == EQUAL


def regret_and_publications(min_change_bp: int, seed: int) -> tuple[float, int]:
    """A bandit of three arms, 200 rounds of 500 requests; regret in successes."""
    rng = np.random.default_rng(seed)
    truth = np.array([0.10, 0.11, 0.12])
    settings = PolicySettings(floor_bp=100, min_change_bp=min_change_bp)
    n, s = np.zeros(3), np.zeros(3)
    shares = {"a": 3_334, "b": 3_333, "c": 3_333}
    regret, published = 0.0, 0
    for _ in range(200):
        drawn = rng.multinomial(500, np.array([shares[name] for name in "abc"]) / 10_000)
        n += drawn
        s += rng.binomial(drawn, truth)
        regret += float(drawn @ (truth.max() - truth))
        means = s / n
        evidence = [
            Arm(name, n[i], means[i], means[i] * (1 - means[i]) / n[i], True)
            for i, name in enumerate("abc")
        ]
        got = thompson.allocate(evidence, shares, settings)
        published += total_variation_bp(shares, got.weights) > 0
        shares = dict(got.weights)
    return regret, published


def test_hysteresis_saves_publications_and_costs_hardly_any_regret() -> None:
    """With 5 %, less than half the tables; regret within a fifth, and below an equal split's."""
    quiet = [regret_and_publications(500, seed) for seed in range(8)]
    busy = [regret_and_publications(1, seed) for seed in range(8)]
    assert np.mean([p for _, p in quiet]) < 0.5 * np.mean([p for _, p in busy])
    regrets = np.mean([r for r, _ in quiet]), np.mean([r for r, _ in busy])
    assert regrets[0] < 1.2 * regrets[1]
    assert regrets[0] < 0.6 * 200 * 500 * 0.01


def test_without_hysteresis_a_reader_would_notice() -> None:
    """The planted bug, a bound of zero, publishes in nearly every round."""
    assert regret_and_publications(0, 1)[1] > 100
