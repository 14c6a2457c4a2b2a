"""What was delivered of one topic-partition and how far it is finished.

It replaces Faust's own bookkeeping, which holds one entry per offset: to it a batch is a gap of
as many offsets as the batch has records, its commits advance one batch at a time, and an offset
acknowledged above an unfinished batch makes that batch disappear (faust-streaming #606).
"""

from __future__ import annotations

from collections import deque


class Deliveries:
    """Batches of one topic-partition in the order of delivery, each known by its last offset."""

    __slots__ = ("_acknowledged", "_waiting", "expected", "in_flight")

    def __init__(self, expected: int) -> None:
        """Start before offset `expected`."""
        self.expected = expected
        self.in_flight = 0
        self._waiting: deque[tuple[int, int]] = deque()
        self._acknowledged: set[int] = set()

    def deliver(self, last_offset: int) -> None:
        """The records from `expected` to `last_offset` are handed to the agent."""
        self._waiting.append((last_offset, last_offset + 1 - self.expected))
        self.in_flight += last_offset + 1 - self.expected
        self.expected = last_offset + 1

    def acknowledge(self, last_offset: int) -> None:
        """The agent has finished the batch that ends at `last_offset`.

        One that is not waited for, as after a seek, changes nothing.
        """
        for offset, count in self._waiting:
            if offset == last_offset and offset not in self._acknowledged:
                self._acknowledged.add(offset)
                self.in_flight -= count
                return

    def committable(self) -> int | None:
        """The offset after the longest finished prefix, if it grew since the last call."""
        finished = None
        while self._waiting and self._waiting[0][0] in self._acknowledged:
            last_offset, _ = self._waiting.popleft()
            self._acknowledged.discard(last_offset)
            finished = last_offset + 1
        return finished
