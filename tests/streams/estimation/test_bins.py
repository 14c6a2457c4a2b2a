"""Bins: exact counts in cells of known edges, mergeable, the same on every machine."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegate.streams.estimation.bins import Bins

VALUES = st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=60)


def binned(values: list[float]) -> Bins:
    """Bins of some values."""
    bins = Bins()
    bins.feed(np.array(values))
    return bins


@given(VALUES)
def test_every_value_lies_in_its_bin(values: list[float]) -> None:
    """Counts by bin are what counting between its edges gives; nothing is lost."""
    found = list(binned(values).descending())
    assert sum(count for _, _, count in found) == len(values)
    for low, high, count in found:
        inside = [value for value in values if low <= value <= high]
        assert len(inside) >= count
        assert high - low <= max(abs(low), abs(high)) / 128 + 1e-300


@given(VALUES, VALUES)
def test_merged_bins_are_the_bins_of_all(left: list[float], right: list[float]) -> None:
    """Merging and storing lose nothing, whatever the order."""
    merged = binned(left)
    merged.absorb(binned(right))
    assert merged.to_state() == binned(right + left).to_state()
    again = Bins.from_state(merged.to_state())
    assert (again.to_state(), again.n) == (merged.to_state(), len(left) + len(right))


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_the_quantile_is_off_by_a_bin_at_most(values: list[float], share: float) -> None:
    """Within 0.8 % of a value of that rank."""
    found = binned(values).quantile(share)
    assert found is not None
    ranked = sorted(values)
    exact = ranked[min(len(values) - 1, len(values) - 1 - int((1 - share) * len(values)))]
    near = [value for value in ranked if abs(value - found) <= 0.008 * value]
    assert near
    assert min(abs(ranked.index(value) - ranked.index(exact)) for value in near) <= 1


def test_order_holds_across_zero() -> None:
    """Negative scores, minus zero and tiny values fall where they belong."""
    edges = [low for low, _, _ in binned([3.0, -3.0, 0.0, -0.0, 1e-300, -1e-300]).descending()]
    assert edges == sorted(edges, reverse=True)
    assert len(edges) == 5
    assert Bins().quantile(0.5) is None
