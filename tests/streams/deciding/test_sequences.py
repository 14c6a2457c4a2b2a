"""Observations count once, in order, per source partition."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tidegate.streams.deciding.sequences import GAP_ALARM_MS, NOTHING, Reading, Sequences


def feed(sequences: Sequences, source: int, sequence: int, at_ms: int) -> Reading:
    """Reads a batch and accepts it when it is the expected one."""
    reading = sequences.read(source, sequence, at_ms)
    if reading is Reading.NEXT:
        sequences.accept(source, at_ms)
    return reading


def test_a_known_batch_is_dropped() -> None:
    """A joiner that starts again emits what it emitted."""
    sequences = Sequences(1)
    assert [feed(sequences, 0, number, 100) for number in (0, 0, 1, 0, 1, 2)] == [
        Reading.NEXT,
        Reading.KNOWN,
        Reading.NEXT,
        Reading.KNOWN,
        Reading.KNOWN,
        Reading.NEXT,
    ]


def test_a_batch_beyond_a_gap_is_dropped_without_advancing() -> None:
    """The missing one comes again, and so does this one."""
    sequences = Sequences(1)
    feed(sequences, 0, 0, 100)
    assert feed(sequences, 0, 2, 200) is Reading.GAP
    assert sequences.expected == [1]
    assert feed(sequences, 0, 1, 300) is Reading.NEXT
    assert feed(sequences, 0, 2, 300) is Reading.NEXT


def test_the_watermark_waits_for_every_source_partition() -> None:
    """What one joiner has not told may still be anything."""
    sequences = Sequences(2)
    assert not sequences.accept(0, 500)
    assert sequences.watermark_ms == NOTHING
    assert sequences.accept(1, 300)
    assert sequences.watermark_ms == 300
    assert not sequences.accept(0, 900)
    assert sequences.slowest() == 1


def test_the_watermark_never_falls() -> None:
    """A repeated earlier time takes nothing back."""
    sequences = Sequences(1)
    sequences.accept(0, 500)
    assert not sequences.accept(0, 400)
    assert sequences.watermark_ms == 500


def test_an_unhealed_gap_is_an_alarm_once() -> None:
    """Ten seconds of log time, one alarm; a healed gap may be one again."""
    sequences = Sequences(1)
    feed(sequences, 0, 3, 1_000)
    assert sequences.overdue(1_000 + GAP_ALARM_MS - 1) == []
    assert sequences.overdue(1_000 + GAP_ALARM_MS) == [0]
    assert sequences.overdue(1_000 + 2 * GAP_ALARM_MS) == []
    feed(sequences, 0, 0, 30_000)
    assert sequences.overdue(90_000) == []
    feed(sequences, 0, 3, 90_000)
    assert sequences.overdue(90_000 + GAP_ALARM_MS) == [0]


def test_an_accepted_gap_goes_on_at_the_named_batch() -> None:
    """A person's word, never backwards."""
    sequences = Sequences(1)
    feed(sequences, 0, 5, 1)
    sequences.accept_gap({"source_partition": "0", "sequence": "5"})
    assert feed(sequences, 0, 5, 2) is Reading.NEXT
    sequences.accept_gap({"source_partition": "0", "sequence": "3"})
    assert sequences.expected == [6]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), max_size=60))
def test_any_order_of_batches_counts_each_once_in_order(words: list[tuple[int, int]]) -> None:
    """Whatever comes, what is accepted is 0, 1, 2, … per source partition."""
    sequences = Sequences(3)
    accepted: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for at_ms, (source, number) in enumerate(words):
        if feed(sequences, source, number, at_ms) is Reading.NEXT:
            accepted[source].append(number)
        sequences = Sequences.from_state(json.loads(json.dumps(sequences.to_state())))
    for numbers in accepted.values():
        assert numbers == list(range(len(numbers)))
