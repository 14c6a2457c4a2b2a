"""A fetch of one topic-partition, whichever client made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NoReturn

from tidegate.schemas.marks import Mark, read_mark
from tidegate.streams.merge import Fetched

Headers = Sequence[tuple[str, bytes | None]]


class OffsetHole(Exception):
    """Offsets of a fetch are not dense: the topic is compacted or written in transactions."""


@dataclass(slots=True)
class Batch:
    """Records of one topic-partition as a client gave them, read by index and only when asked.

    `values[i]` has offset `first_offset + i`; `timestamps` is in ms.
    """

    first_offset: int
    values: list[bytes | None]
    headers: Callable[[int], Headers | None]
    timestamps: Callable[[int], int]
    keys: Callable[[int], bytes | None]

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.first_offset + len(self.values)

    def trimmed(self, expected: int) -> Batch | None:
        """The part from offset `expected` on; None when nothing of it is left.

        Raises:
            OffsetHole: the batch begins behind `expected`.
        """
        skip = expected - self.first_offset
        if skip == 0:
            return self
        if skip < 0:
            _raise_hole(expected, self.first_offset)
        if skip >= len(self.values):
            return None
        return Batch(
            expected,
            self.values[skip:],
            lambda index: self.headers(index + skip),
            lambda index: self.timestamps(index + skip),
            lambda index: self.keys(index + skip),
        )

    def fetched(self) -> Fetched:
        """What the fold is fed with."""
        marks = find_marks(self.values, self.headers)
        return Fetched(self.first_offset, self.values, marks, self.timestamps)

    def sample_key(self) -> bytes | None:
        """The key of one record that has a value; None when there is no such record or key."""
        for index, value in enumerate(self.values):
            if value is not None:
                return self.keys(index)
        return None


def from_aiokafka(records: Sequence[Any]) -> list[Batch]:
    """Batches of aiokafka's `ConsumerRecord`s, all of one topic-partition, ascending.

    One, unless offsets are missing among them; whether they may be is the consumer's to know.
    """
    if records[-1].offset - records[0].offset + 1 == len(records):
        return [_of_aiokafka(records)]
    runs = dense_runs([record.offset for record in records])
    return [_of_aiokafka(records[start:stop]) for start, stop in runs]


def _of_aiokafka(records: Sequence[Any]) -> Batch:
    return Batch(
        records[0].offset,
        [record.value for record in records],
        lambda index: records[index].headers,
        lambda index: records[index].timestamp,
        lambda index: records[index].key,
    )


def from_librdkafka(messages: Sequence[Any]) -> list[Batch]:
    """Batches of confluent-kafka's `Message`s, all of one topic-partition, ascending.

    One, unless offsets are missing among them; whether they may be is the consumer's to know.
    """
    if messages[-1].offset() - messages[0].offset() + 1 == len(messages):
        return [_of_librdkafka(messages)]
    runs = dense_runs([message.offset() for message in messages])
    return [_of_librdkafka(messages[start:stop]) for start, stop in runs]


def _of_librdkafka(messages: Sequence[Any]) -> Batch:
    return Batch(
        messages[0].offset(),
        [message.value() for message in messages],
        lambda index: messages[index].headers(),
        lambda index: messages[index].timestamp()[1],
        lambda index: messages[index].key(),
    )


def find_marks(
    values: Sequence[bytes | None], headers: Callable[[int], Headers | None]
) -> list[tuple[int, Mark]]:
    """Index and mark of the records without value that carry one; headers of others stay unread.

    >>> from tidegate.schemas.marks import tick_headers
    >>> find_marks([b"x", None, None], {1: tick_headers(7), 2: []}.get)
    [(1, Tick(log_time_ms=7))]
    """
    marks: list[tuple[int, Mark]] = []
    index = -1
    for _ in range(values.count(None)):
        index = values.index(None, index + 1)
        mark = read_mark(headers(index))
        if mark is not None:
            marks.append((index, mark))
    return marks


def dense_runs(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Index ranges without a missing offset, of ascending offsets.

    >>> dense_runs([5, 6, 9])
    [(0, 2), (2, 3)]
    """
    starts = [0]
    starts += [
        index
        for index, (offset, following) in enumerate(pairwise(offsets), start=1)
        if following != offset + 1
    ]
    return list(pairwise([*starts, len(offsets)]))


def _raise_hole(expected: int, found: int) -> NoReturn:
    raise OffsetHole(f"offset {expected} comes next, but {found} was read")
