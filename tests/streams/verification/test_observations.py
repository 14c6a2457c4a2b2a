"""Observations held against those derived again: first copies count, first differences are told."""

from __future__ import annotations

from dataclasses import replace

from tests.streams.joining.scenario import Scenario
from tidegate.schemas.facts import ObservationBatch, encode_observation
from tidegate.schemas.observation_reading import decode_observation
from tidegate.streams.verification.observations import ObservationAudit

ENGINE = "engine"


def recorded_values(count: int = 4) -> list[bytes]:
    """Batches of source partition 0 for partition 0, as a joiner wrote them."""
    scenario = Scenario()
    for number in range(count):
        scenario.at(1_000 * (number + 1))
    return [encode_observation(it) for it in scenario.batches() if it.partition == 0][:count]


def batch_of(value: bytes) -> ObservationBatch:
    """A value decoded."""
    return decode_observation(value)


def audit(recorded: list[bytes], derived: list[bytes]) -> ObservationAudit:
    """The audit of both."""
    held = ObservationAudit(ENGINE)
    for offset, value in enumerate(recorded):
        held.recorded(value, offset)
    for value in derived:
        held.derived(0, 0, value)
    held.finish(0)
    return held


def told(held: ObservationAudit) -> list[tuple[int, str, int]]:
    """(sequence, what, offset) of the differences."""
    return [(it.sequence, it.what, it.offset) for it in held.tally.differences]


def test_equal_batches_are_equal() -> None:
    """Nothing is told of batches that are derived as they were recorded."""
    values = recorded_values()
    held = audit(values, values)
    assert told(held) == []
    assert (held.tally.recorded, held.tally.derived, held.tally.equal) == (4, 4, 4)


def test_only_the_first_difference_of_a_pair_is_told() -> None:
    """What follows a difference may follow from it."""
    values = recorded_values()
    changed = [encode_observation(replace(batch_of(it), log_time_ms=7)) for it in values[1:3]]
    held = audit([values[0], *changed, values[3]], values)
    assert told(held) == [(1, "differs", 1)]
    assert held.tally.differences[0].log_time_ms == 7
    assert held.tally.equal == 2


def test_copies_are_held_against_the_first() -> None:
    """Equal copies are counted; the first that differs is told with its offset."""
    values = recorded_values()
    other = encode_observation(replace(batch_of(values[1]), log_time_ms=7))
    held = audit([values[0], values[1], values[0], other, *values[2:]], values)
    assert held.tally.copies == 2
    assert told(held) == [(1, "copies differ", 3)]


def test_a_batch_left_out_is_missing() -> None:
    """A number that was never written, below one that was, is told; those above the last are not:
    the joiner was behind."""
    values = recorded_values()
    held = audit([values[0], values[2]], values)
    assert told(held) == [(1, "missing", -1)]
    assert told(audit(values[:2], values)) == []


def test_a_batch_nobody_derives_is_unexpected() -> None:
    """More was written than the logs give."""
    values = recorded_values()
    assert told(audit(values, values[:3])) == [(3, "unexpected", 3)]


def test_a_source_partition_without_records_is_no_difference() -> None:
    """Batches of a partition that is not audited, or not written yet, say nothing."""
    values = recorded_values()
    held = audit([], values)
    assert told(held) == []
    held.recorded(encode_observation(replace(batch_of(values[0]), source_partition=3)), 9)
    held.finish(0)
    assert told(held) == []
    held.finish(3)
    assert [it.source_partition for it in held.tally.differences] == [3]


def test_a_number_that_was_never_given_out_is_unreadable() -> None:
    """A forged sequence costs no memory: every batch before it would have taken an offset."""
    values = recorded_values()
    forged = encode_observation(replace(batch_of(values[0]), sequence=2**60))
    held = audit([*values, forged], values)
    assert (held.tally.unreadable, held.tally.equal) == (1, 4)


def test_facts_that_were_damaged_differ() -> None:
    """The head says where a batch belongs; that its facts are sound, only equal bytes say."""
    values = recorded_values()
    held = audit([values[0], values[1][:-1] + b"x", *values[2:]], values)
    assert told(held) == [(1, "differs", 1)]


def test_unreadable_and_foreign_records_are_counted() -> None:
    """What cannot be compared is never counted as equal."""
    values = recorded_values()
    foreign = encode_observation(replace(batch_of(values[0]), engine="other"))
    held = audit([b"junk", foreign], values)
    assert held.tally.unreadable == 1
    assert held.tally.other_engines == {"other": 1}
    assert held.tally.equal == 0
