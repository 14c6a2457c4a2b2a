"""agents/transport/fetched.py"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tidegate.agents.transport.fetched import (
    Batch,
    OffsetHole,
    find_marks,
    from_aiokafka,
    from_librdkafka,
)
from tidegate.schemas.marks import Marker, Tick, marker_headers, tick_headers


@dataclass
class Record:
    """One record, readable as aiokafka's `ConsumerRecord`."""

    offset: int
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    timestamp: int = 0
    key: bytes | None = None


class LibrdkafkaMessage:
    """The same record, readable as confluent-kafka's `Message`."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def offset(self) -> int:
        """Offset."""
        return self.record.offset

    def value(self) -> bytes | None:
        """Value."""
        return self.record.value

    def headers(self) -> list[tuple[str, bytes]] | None:
        """None where there are no headers, as confluent-kafka has it."""
        return self.record.headers or None

    def timestamp(self) -> tuple[int, int]:
        """Kind and ms."""
        return (1, self.record.timestamp)

    def key(self) -> bytes | None:
        """Key."""
        return self.record.key


def both(records: list[Record]) -> list[Batch]:
    """The batch as each client gives it."""
    [one], [other] = splits(records)
    return [one, other]


def splits(records: list[Record]) -> list[list[Batch]]:
    """The batches as each client gives them."""
    return [from_aiokafka(records), from_librdkafka([LibrdkafkaMessage(r) for r in records])]


RECORDS = [
    Record(10, None, tick_headers(500), 1),
    Record(11, b"a", [("other", b"x")], 2, b"k1"),
    Record(12, None, marker_headers(Marker("barrier", {"engine": "e"})), 3),
    Record(13, None, [("stranger", b"x")], 4),
    Record(14, b"b", [], 5, b"k2"),
]


def test_a_fetch_is_the_same_whichever_client_made_it() -> None:
    """Offsets, values, marks and timestamps do not depend on the client."""
    for batch in both(RECORDS):
        fetched = batch.fetched()
        assert fetched.first_offset == 10
        assert fetched.values == [None, b"a", None, None, b"b"]
        assert fetched.marks == [(0, Tick(500)), (2, Marker("barrier", {"engine": "e"}))]
        assert [fetched.timestamps(index) for index in range(5)] == [1, 2, 3, 4, 5]
        assert batch.next_offset == 15


def test_headers_are_read_only_where_there_is_no_value() -> None:
    """Headers cost more than values: a record with a value never has its headers read."""
    asked: list[int] = []

    def headers(index: int) -> list[tuple[str, bytes | None]]:
        asked.append(index)
        return [*tick_headers(index)]

    assert find_marks([b"x", None, b"", None], headers) == [(1, Tick(1)), (3, Tick(3))]
    assert asked == [1, 3]


def test_a_hole_inside_a_fetch_splits_it() -> None:
    """Records of a compacted or transactional log are not taken for dense ones: what comes behind
    a hole is a batch of its own, which is not what was expected next."""
    records = [Record(5, b"a"), Record(6, b"b"), Record(9, b"c")]
    for before, behind in splits(records):
        assert (before.first_offset, before.values) == (5, [b"a", b"b"])
        assert (behind.first_offset, behind.values) == (9, [b"c"])
        with pytest.raises(OffsetHole, match="offset 7 comes next, but 9 was read"):
            behind.trimmed(before.next_offset)


def test_a_hole_between_fetches_is_found() -> None:
    """A fetch that begins behind the expected offset is not taken."""
    with pytest.raises(OffsetHole, match="offset 8 comes next, but 10 was read"):
        both(RECORDS)[0].trimmed(8)


@pytest.mark.parametrize("expected", [10, 11, 12, 14])
def test_a_fetch_that_overlaps_is_trimmed_to_what_is_expected(expected: int) -> None:
    """What was delivered already is cut off; the rest keeps its own marks, times and keys."""
    for batch in both(RECORDS):
        rest = batch.trimmed(expected)
        assert rest is not None
        cut = expected - 10
        fetched = rest.fetched()
        assert fetched.first_offset == expected
        assert fetched.values == [record.value for record in RECORDS[cut:]]
        assert [fetched.timestamps(i) for i in range(len(fetched.values))] == [
            record.timestamp for record in RECORDS[cut:]
        ]
        whole = batch.fetched().marks
        assert fetched.marks == [(index - cut, mark) for index, mark in whole if index >= cut]
        assert rest.sample_key() == (b"k1" if expected <= 11 else b"k2")


def test_a_fetch_delivered_before_is_dropped_whole() -> None:
    """Nothing is left of a fetch that ends before the expected offset."""
    assert both(RECORDS)[0].trimmed(15) is None
    assert both(RECORDS)[0].trimmed(99) is None


def test_keys_are_sampled_from_records_with_values() -> None:
    """Ticks are written without key into an explicit partition: they say nothing of it."""
    assert both(RECORDS)[0].sample_key() == b"k1"
    assert both(RECORDS[:1])[0].sample_key() is None
