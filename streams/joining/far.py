"""Packed requests whose deadlines are far off, in spans of time: five bytes a request.

With windows of hours almost every request has a deadline of its own; a list for each deadline would
take more memory than the requests.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegate.streams.joining.settings import TIMER_GRID_MS

Array = NDArray[Any]

SPAN_MS: Final = 10_000
"""A multiple of the grid, by less than 256."""


class Far:
    """Rows (u4) by deadline, in the order in which they were added, until their span is opened.

    Spans are opened in order; deadlines before `begins_ms` are no longer far.
    """

    __slots__ = ("_numbers", "_spans", "begins_ms")

    def __init__(self) -> None:
        self.begins_ms = 0
        self._spans: dict[int, tuple[array[int], bytearray]] = {}
        self._numbers: list[int] = []

    def expect(self, deadline_ms: int) -> tuple[array[int], bytearray]:
        """There is, or will be, something with this far deadline: its span will be opened."""
        number = deadline_ms // SPAN_MS
        span = self._spans.get(number)
        if span is None:
            span = self._spans[number] = (array("I"), bytearray())
            heappush(self._numbers, number)
        return span

    def add(self, deadline_ms: int, rows: Array) -> None:
        """Rows that have a far deadline."""
        held, places = self.expect(deadline_ms)
        held.frombytes(rows.tobytes())
        places += bytes([deadline_ms % SPAN_MS // TIMER_GRID_MS]) * len(rows)

    @property
    def next_ms(self) -> int | None:
        """When the next span begins; None when there is none."""
        return self._numbers[0] * SPAN_MS if self._numbers else None

    def open_next(self) -> list[tuple[int, Array]]:
        """Deadlines of the next span, ascending, with their rows; what was expected may be none."""
        number = heappop(self._numbers)
        self.begins_ms = (number + 1) * SPAN_MS
        return list(_by_deadline(number, *self._spans.pop(number)))

    def items(self) -> Iterator[tuple[int, Array]]:
        """All deadlines, ascending, with their rows."""
        for number in sorted(self._numbers):
            yield from _by_deadline(number, *self._spans[number])

    def load(self, deadlines_ms: Array, rows: Array) -> None:
        """Take rows whose deadlines ascend; must be new."""
        numbers = deadlines_ms // SPAN_MS
        places = (deadlines_ms % SPAN_MS // TIMER_GRID_MS).astype(np.uint8)
        begins = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, stop in zip(begins, [*begins, len(rows)][1:], strict=True):
            held = array("I", rows[start:stop].astype("<u4").tobytes())
            self._spans[int(numbers[start])] = (held, bytearray(places[start:stop].tobytes()))
        self._numbers = list(self._spans)


def _by_deadline(
    number: int, held: array[int], places: bytearray
) -> Iterator[tuple[int, Array]]:
    rows, grid = np.array(held, dtype="<u4"), np.frombuffer(bytes(places), np.uint8)
    order = np.argsort(grid, kind="stable")
    rows, grid = rows[order], grid[order]
    begins = np.flatnonzero(np.diff(grid.astype(np.int16), prepend=-1)).tolist()
    for start, stop in zip(begins, [*begins, len(rows)][1:], strict=True):
        yield number * SPAN_MS + int(grid[start]) * TIMER_GRID_MS, rows[start:stop]
