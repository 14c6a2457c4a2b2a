"""Trails: evidence since several beginnings, dense near the present, one table at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.streams.estimation.trail import Trail, Watch

WATCH = Watch("m", "challenger", "champion", size=10)


def fed(trail: Trail, *numbers: int, key: tuple[int, int] = (0, 1)) -> Trail:
    """Batches of so many candidate values, and twice as many of control."""
    for number in numbers:
        assert trail.reach(key)
        trail.merge(True, (float(number), float(number), 1.0, 0.0))
        trail.merge(False, (2.0 * number, 2.0 * number, 0.0, 0.0))
        trail.settle()
    return trail


def sizes(trail: Trail) -> list[tuple[int, float]]:
    """(beginning, candidate values since), the latest first."""
    return [(item.start, item.candidate.moments().n) for item in trail.beginnings()]


def test_evidence_begins_anew_with_every_size_values() -> None:
    """A beginning holds all that came since, on both sides; the first one everything."""
    trail = fed(Trail(WATCH), 10, 10, 5)
    assert sizes(trail) == [(2, 5.0), (1, 15.0), (0, 25.0)]
    assert [item.control.moments().n for item in trail.beginnings()] == [10.0, 30.0, 50.0]
    assert [item.is_first for item in trail.beginnings()] == [False, False, True]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=300))
def test_beginnings_grow_with_the_logarithm_of_what_came(numbers: list[int]) -> None:
    """Everything is in the oldest, none is empty but the latest, and there are few."""
    trail = fed(Trail(WATCH), *numbers)
    found = sizes(trail)
    assert found[-1] == (0, float(sum(numbers)))
    assert [start for start, _ in found] == sorted((start for start, _ in found), reverse=True)
    assert len(found) <= 2 + 2 * np.log2(2 + sum(numbers) / 10)


def test_a_new_table_begins_anew_and_an_old_one_counts_no_more() -> None:
    """Weights moved: what was routed otherwise is the whole evidence's matter."""
    trail = fed(fed(Trail(WATCH), 25), 4, key=(0, 2))
    assert sizes(trail) == [(2, 4.0)]
    assert not trail.reach((0, 1))
    assert trail.reach((1, 0))
    assert (trail.tables, sizes(trail)) == (3, [(3, 0.0)])


def test_it_is_looked_at_each_eighth_of_a_size() -> None:
    """Batches that bring next to nothing are not worth a look."""
    trail = Trail(Watch("m", "challenger", "champion", size=80))
    due = []
    for _ in range(5):
        trail.is_due = False
        fed(trail, 4)
        due.append(trail.is_due)
    assert due == [False, False, True, False, True]


def test_a_check_cuts_and_nothing_else_does() -> None:
    """Without a size only the check ends a stretch."""
    trail = fed(Trail(Watch("m", "challenger", "champion", checked=0)), 500, 500)
    assert sizes(trail) == [(0, 1000.0)]
    trail.cut()
    assert sizes(fed(trail, 3)) == [(1, 3.0)]
    Trail(WATCH).cut()


@pytest.mark.parametrize("above", [None, 100.0])
def test_values_go_to_bins_or_above_their_bound(above: float | None) -> None:
    """Quantiles against control keep bins, quantiles against a bound a share."""
    trail = Trail(Watch("m", "challenger", "", above, binned=above is None, size=10))
    trail.reach((0, 1))
    trail.feed(True, np.array([50.0, 150.0, 150.0, 90.0]))
    [found] = trail.beginnings()
    if above is None:
        assert (found.candidate.n, found.candidate.above(100.0)) == (4, 2)
    else:
        assert found.candidate.moments()[:2] == (4.0, 0.5)


@given(st.lists(st.integers(1, 40), max_size=50))
def test_a_stored_trail_goes_on_the_same(numbers: list[int]) -> None:
    """Equal trails have equal states, also after more has come."""
    one = fed(Trail(WATCH), *numbers)
    other = Trail(WATCH)
    other.load(one.to_state())
    assert fed(other, 7, 30).to_state() == fed(one, 7, 30).to_state()
