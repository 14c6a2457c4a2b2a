"""Shares: whole basis points, floors that hold, steps that are capped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas.errors import DefinitionError
from tidegate.streams.policies.shares import capped, total_variation_bp, whole_parts, with_floor


@st.composite
def chances(draw: st.DrawFn) -> dict[str, float]:
    """Probabilities of 2 to 8 arms, sum 1."""
    raw = draw(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda x: sum(x) > 0.01))
    return {f"arm-{i}": value / sum(raw) for i, value in enumerate(raw)}


def clipped(probabilities: dict[str, float], floor_bp: int) -> dict[str, int]:
    """The planted bug: cut to the floor, then scale again."""
    raised = {name: max(p, floor_bp / 10_000) for name, p in probabilities.items()}
    total = sum(raised.values())
    return {name: int(10_000 * p / total) for name, p in raised.items()}


@given(chances(), st.integers(0, 1_250))
def test_floors_hold_and_everything_is_given_out(found: dict[str, float], floor_bp: int) -> None:
    """Whatever the probabilities: integers, sum 10,000, none below the floor, order kept."""
    shares = with_floor(found, floor_bp)
    assert sum(shares.values()) == 10_000
    assert min(shares.values()) >= floor_bp
    assert all(type(share) is int for share in shares.values())
    best = max(found, key=found.__getitem__)
    assert shares[best] >= max(shares.values()) - 1


def test_clipping_would_break_the_floor() -> None:
    """The case of the notes catches the planted bug: (.985, .005 x 3), floor 1 %."""
    case = {"a": 0.985, "b": 0.005, "c": 0.005, "d": 0.005}
    assert min(clipped(case, 100).values()) < 100
    assert with_floor(case, 100) == {"a": 9_556, "b": 148, "c": 148, "d": 148}
    assert min(with_floor({"a": 1.0, "b": 0.0}, 100).values()) == 100


def test_floors_beyond_the_whole_are_refused() -> None:
    """Three floors of 40 % cannot be kept; neither can a negative one."""
    for floor in (4_000, -1):
        with pytest.raises(DefinitionError):
            with_floor({"a": 1.0, "b": 0.0, "c": 0.0}, floor)


@given(chances(), chances(), st.integers(1, 10_000), st.integers(0, 1_000))
def test_steps_are_capped_and_keep_the_floor(
    one: dict[str, float], other: dict[str, float], most_bp: int, floor_bp: int
) -> None:
    """No share moves further than the step, the sum stays, floors of both ends hold between."""
    names = sorted(set(one) & set(other))
    ends = []
    for chance in (one, other):
        total = sum(chance[name] for name in names) or 1.0
        parts = {name: chance[name] / total for name in names}
        ends.append(with_floor(parts if sum(parts.values()) > 0.5 else
                               dict.fromkeys(names, 1 / len(names)), floor_bp))  # fmt: skip
    got = capped(ends[0], ends[1], most_bp)
    assert sum(got.values()) == 10_000
    assert max(abs(got[name] - ends[0][name]) for name in names) <= most_bp
    assert min(got.values()) >= floor_bp


def test_largest_remainders_get_what_is_left() -> None:
    """10 in thirds: the first name gets the odd one; parts that do not add up are refused."""
    assert whole_parts({"b": 10 / 3, "a": 10 / 3, "c": 10 / 3}, 10) == {"a": 4, "b": 3, "c": 3}
    for wrong in ({"a": 3.0}, {"a": -1.0, "b": 11.0}):
        with pytest.raises(ValueError, match="do not make 10"):
            whole_parts(wrong, 10)


def test_total_variation_is_the_traffic_that_moves() -> None:
    """Half the sum of differences; arms that come or go count."""
    assert total_variation_bp({"a": 9_000, "b": 1_000}, {"a": 8_000, "b": 2_000}) == 1_000
    assert total_variation_bp({"a": 10_000}, {"b": 10_000}) == 10_000
