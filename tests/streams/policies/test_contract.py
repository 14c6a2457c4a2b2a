"""What every policy of the registry must do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tidegate.streams.estimation.strata import Arm
from tidegate.streams.policies import POLICIES, PolicySettings

SETTINGS = PolicySettings(floor_bp=200)


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Arm], dict[str, int]]:
    """Two to five arms with any evidence, and any current shares that sum to 10,000."""
    number = draw(st.integers(2, 5))
    arms = []
    for i in range(number):
        binary = draw(st.booleans())
        mean = draw(st.floats(0, 1) if binary else st.floats(-1e6, 1e6))
        n = draw(st.integers(0, 10**7))
        variance = mean * (1 - mean) if binary else draw(st.floats(0, 1e9))
        arms.append(Arm(f"arm-{i}", n, mean, variance / n if n else 0.0, binary))
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=number - 1, max_size=number - 1)))
    edges = [0, *cuts, 10_000]
    return arms, {arm.name: edges[i + 1] - edges[i] for i, arm in enumerate(arms)}


@pytest.mark.parametrize("name", POLICIES)
@given(situations())
def test_shares_are_sound(name: str, situation: tuple[list[Arm], dict[str, int]]) -> None:
    """Integers, none negative, sum 10,000, for exactly the given arms; floors hold."""
    arms, current = situation
    got = POLICIES[name](arms, current, SETTINGS)
    assert set(got.weights) == set(current)
    assert all(type(share) is int for share in got.weights.values())
    assert sum(got.weights.values()) == 10_000
    assert min(got.weights.values()) >= SETTINGS.floor_bp
    assert got.moved == (dict(got.weights) != current)


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"fixed"}))
@given(situations(), st.integers(1, 10_000))
def test_no_share_moves_further_than_allowed(
    name: str, situation: tuple[list[Arm], dict[str, int]], most_bp: int
) -> None:
    """But up to the floor; a fixed split is what was asked for."""
    arms, current = situation
    assume(min(current.values()) >= SETTINGS.floor_bp)
    got = POLICIES[name](arms, current, replace(SETTINGS, max_change_bp=most_bp))
    assert max(abs(got.weights[arm] - current[arm]) for arm in current) <= most_bp


@pytest.mark.parametrize("name", POLICIES)
@given(situations())
def test_the_same_evidence_gives_the_same_shares(
    name: str, situation: tuple[list[Arm], dict[str, int]]
) -> None:
    """Nothing but the arguments counts: not the order of arms, and not the time of day."""
    arms, current = situation
    again = POLICIES[name](list(reversed(arms)), dict(reversed(current.items())), SETTINGS)
    assert dict(again.weights) == dict(POLICIES[name](arms, current, SETTINGS).weights)
