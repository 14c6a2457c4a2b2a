"""agents/transport/deliveries.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.agents.transport.deliveries import Deliveries


def test_a_commit_advances_through_all_finished_batches() -> None:
    """H1: one commit covers every finished batch, not one batch a commit."""
    deliveries = Deliveries(0)
    for last in range(4_999, 1_400_000, 5_000):
        deliveries.deliver(last)
        deliveries.acknowledge(last)
    assert deliveries.committable() == 1_400_000
    assert deliveries.in_flight == 0


def test_an_acknowledged_batch_above_an_unfinished_one_is_not_committed() -> None:
    """H2: otherwise the unfinished batch would be lost after a restart."""
    deliveries = Deliveries(100)
    deliveries.deliver(149)
    deliveries.deliver(199)
    deliveries.acknowledge(199)
    assert deliveries.committable() is None
    assert deliveries.in_flight == 50
    deliveries.acknowledge(149)
    assert deliveries.committable() == 200


def test_an_offset_is_given_for_commit_once() -> None:
    """A commit is due only when the finished prefix has grown."""
    deliveries = Deliveries(0)
    deliveries.deliver(9)
    deliveries.acknowledge(9)
    assert deliveries.committable() == 10
    assert deliveries.committable() is None


def test_an_unknown_or_repeated_acknowledgement_changes_nothing() -> None:
    """An event may be acknowledged after a seek has forgotten its batch."""
    deliveries = Deliveries(0)
    deliveries.deliver(9)
    deliveries.acknowledge(4)
    assert deliveries.in_flight == 10
    deliveries.acknowledge(9)
    deliveries.acknowledge(9)
    assert deliveries.in_flight == 0


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.data())
def test_what_is_committed_is_the_longest_finished_prefix(
    sizes: list[int], data: st.DataObject
) -> None:
    """For any order of acknowledgements, after any of them."""
    deliveries = Deliveries(7)
    lasts = []
    for size in sizes:
        lasts.append(deliveries.expected + size - 1)
        deliveries.deliver(lasts[-1])
    done: set[int] = set()
    committed = 7
    for last in data.draw(st.permutations(lasts)):
        deliveries.acknowledge(last)
        done.add(last)
        committed = deliveries.committable() or committed
        prefix = 7
        for each in lasts:
            if each not in done:
                break
            prefix = each + 1
        assert committed == prefix
        assert deliveries.in_flight == sum(
            size for size, each in zip(sizes, lasts, strict=True) if each not in done
        )
