"""Routing tables: buckets move only when they must, and unsound tables are refused whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.streams.tables import routing
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import BucketRange, Variant
from tidegate.streams.routing import allocate, faults, weights_of

NAMES = ("a", "b", "c", "d")


@st.composite
def weights(draw: st.DrawFn) -> dict[str, int]:
    """Whole basis points of four variants."""
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=3, max_size=3)))
    edges = [0, *cuts, 10_000]
    return {name: edges[i + 1] - edges[i] for i, name in enumerate(NAMES)}


def owners(ranges: Sequence[BucketRange]) -> list[str]:
    """Variant of each bucket."""
    return [item.variant for item in ranges for _ in range(item.end - item.start)]


@settings(max_examples=40, deadline=None)
@given(st.lists(weights(), min_size=1, max_size=6))
def test_only_buckets_that_must_move_do(ramp: list[dict[str, int]]) -> None:
    """Each table has its weights, covers all buckets, and moves the least that is possible."""
    ranges: tuple[BucketRange, ...] = ()
    for step in ramp:
        before, ranges = owners(ranges), allocate(step, ranges)
        after = owners(ranges)
        assert {name: after.count(name) for name in NAMES} == step
        assert not faults(routing(dict.fromkeys(NAMES, 2500), buckets=ranges))
        if before:
            moved = sum(left != right for left, right in zip(before, after, strict=True))
            assert moved == sum(max(0, step[name] - before.count(name)) for name in NAMES)


@settings(max_examples=40, deadline=None)
@given(weights(), st.integers(0, 10_000))
def test_a_third_arm_keeps_its_units(first: dict[str, int], share: int) -> None:
    """Moving weight between two arms leaves every bucket of the others where it is."""
    before = allocate(first)
    both = first["a"] + first["b"]
    given_to_b = share * both // 10_000
    after = allocate({**first, "a": both - given_to_b, "b": given_to_b}, before)
    for left, right in zip(owners(before), owners(after), strict=True):
        assert left == right or {left, right} <= {"a", "b"}


def test_many_moves_leave_few_fragments() -> None:
    """Two arms always share one border; four arms that move 300 times stay below 60 ranges."""
    two: tuple[BucketRange, ...] = ()
    four: tuple[BucketRange, ...] = ()
    for step in range(300):
        share = 500 + step * 7919 % 9_000
        two = allocate({"a": share, "b": 10_000 - share}, two)
        rest = 10_000 - share
        third, fourth = rest * (step % 7) // 10, rest * (step % 3) // 10
        four = allocate({"a": share, "b": rest - third - fourth, "c": third, "d": fourth}, four)
        assert len(two) == 2
    assert len(four) < 60


def test_the_order_of_the_map_does_not_matter() -> None:
    """Equal weights give equal tables, however they were written down."""
    assert allocate({"b": 1_000, "a": 9_000}) == allocate({"a": 9_000, "b": 1_000})


@pytest.mark.parametrize(
    "wrong",
    [{"a": 9_999}, {"a": 10_001}, {"a": -1, "b": 10_001}, {"a": 5_000.0, "b": 5_000}, {"a": True}],
)
def test_weights_that_cannot_be_routed_are_refused(wrong: dict[str, Any]) -> None:
    """Only whole basis points that sum to 10,000 make a table."""
    with pytest.raises(DefinitionError):
        allocate(wrong)


def test_a_previous_table_must_cover_all_buckets() -> None:
    """Moving from half a table would move units that nobody asked to move."""
    half = (BucketRange(variant="a", start=0, end=5_000),)
    shifted = (*half, BucketRange(variant="a", start=6_000, end=11_000))
    for previous in (half, shifted):
        with pytest.raises(DefinitionError):
            allocate({"a": 10_000}, previous)


def test_weights_of_a_table_name_every_variant() -> None:
    """Variants without buckets have weight 0."""
    assert weights_of(routing({"a": 9_000, "b": 1_000, "c": 0})) == {"a": 9_000, "b": 1_000, "c": 0}


def ranges(*edges: tuple[str, int, int]) -> tuple[BucketRange, ...]:
    """Ranges from (variant, start, end)."""
    return tuple(BucketRange(variant=v, start=start, end=end) for v, start, end in edges)


TWICE = tuple(Variant(name="a", model="m", model_version="1") for _ in range(2))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"buckets": ranges(("a", 0, 9_999))}, "end at"),
        ({"buckets": ranges(("a", 0, 10_001))}, "end at"),
        ({"buckets": ()}, "end at 0"),
        ({"buckets": ranges(("a", 0, 5_000), ("a", 4_000, 10_000))}, "cover"),
        ({"buckets": ranges(("a", 0, 0), ("a", 0, 10_000))}, "cover"),
        ({"buckets": ranges(("x", 0, 10_000))}, "unknown variant"),
        ({"shadow": {"x": 1}}, "unknown variant"),
        ({"shadow": {"b": 10_001}}, "shadow share"),
        ({"control": "x"}, "control"),
        ({"variants": TWICE}, "repeated"),
        ({"inclusion": -1}, "inclusion"),
        ({"rules": "{"}, "unsound rules"),
        ({"rules": '{"overrides": [{"when": [], "variant": "x"}]}'}, "fix unknown variant"),
        ({"policy": "{}"}, "not known"),
        ({"version": -1}, "negative"),
    ],
)
def test_unsound_tables_have_faults(changes: dict[str, Any], word: str) -> None:
    """Each way a table can be wrong is named."""
    assert any(word in fault for fault in faults(routing(**changes)))


def test_a_sound_table_has_no_fault() -> None:
    """Rolled-back variants and shadows are no faults."""
    assert faults(routing(rolled_back=("b",), shadow={"c": 10_000})) == ()
