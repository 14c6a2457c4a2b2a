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


def from_aiokafka(records: Sequence[Any]) -> Batch:
    """A batch of aiokafka's `ConsumerRecord`s, all of one topic-partition, ascending.

    Raises:
        OffsetHole: an offset is missing among them.
    """
    first, last = records[0].offset, records[-1].offset
    if last - first + 1 != len(records):
        _raise_hole(*_find_hole([record.offset for record in records]))
    return Batch(
        first,
        [record.value for record in records],
        lambda index: records[index].headers,
        lambda index: records[index].timestamp,
        lambda index: records[index].key,
    )


def from_librdkafka(messages: Sequence[Any]) -> Batch:
    """A batch of confluent-kafka's `Message`s, all of one topic-partition, ascending.

    Raises:
        OffsetHole: an offset is missing among them.
    """
    first, last = messages[0].offset(), messages[-1].offset()
    if last - first + 1 != len(messages):
        _raise_hole(*_find_hole([message.offset() for message in messages]))
    return Batch(
        first,
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


def _find_hole(offsets: Sequence[int]) -> tuple[int, int]:
    for offset, following in pairwise(offsets):
        if following != offset + 1:
            return offset + 1, following
    raise AssertionError("offsets are dense")


def _raise_hole(expected: int, found: int) -> NoReturn:
    raise OffsetHole(f"offset {expected} comes next, but {found} was read")
