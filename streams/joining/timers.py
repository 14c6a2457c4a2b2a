"""When requests close: deadlines in order, and which packed requests have them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.streams.joining.far import SPAN_MS, Far

Array = NDArray[Any]


class Timers:
    """Deadlines of all open requests, and rows of the packed ones by deadline, in order.

    `young` are the deadlines of requests that are not packed, which the owner keeps; one of them
    is `expect`ed when it is new. Those far off are in spans, which are opened as they come near.
    """

    __slots__ = ("_far", "_near", "_rows", "_young")

    def __init__(self, young: Mapping[int, object]) -> None:
        self._young = young
        self._near: list[int] = []
        self._rows: dict[int, array[int]] = {}
        self._far = Far()

    def expect(self, deadline_ms: int) -> None:
        """A deadline that no young request had before."""
        if deadline_ms >= self._far.begins_ms:
            self._far.expect(deadline_ms)
        elif deadline_ms not in self._rows:
            heappush(self._near, deadline_ms)

    def add(self, deadline_ms: int, rows: Array) -> None:
        """Requests that were young are packed now."""
        if deadline_ms >= self._far.begins_ms:
            self._far.add(deadline_ms, rows)
            return
        timer = self._rows.get(deadline_ms)
        if timer is None:
            timer = self._rows[deadline_ms] = array("I")
        timer.frombytes(rows.tobytes())

    def due(self, log_time_ms: int) -> Iterator[tuple[int, Array]]:
        """Take out deadlines that have come, in order, with the rows that have them."""
        while (begins_ms := self._far.next_ms) is not None and begins_ms <= log_time_ms:
            self._approach()
        while self._near and self._near[0] <= log_time_ms:
            deadline_ms = heappop(self._near)
            yield deadline_ms, _as_rows(self._rows.pop(deadline_ms, None))

    def first(self) -> int:
        """The earliest deadline; there must be one."""
        while not self._near:
            self._approach()
        return self._near[0]

    def take_last(self, count: int) -> Array:
        """Take out the last packed requests of the earliest deadline, which become young."""
        timer = self._rows[self._near[0]]
        rows = np.array(timer[-count:], dtype="<u4")
        del timer[-count:]
        if not timer:
            del self._rows[self._near[0]]
        return rows

    def drop_first(self) -> None:
        """No young request has the earliest deadline any more."""
        if self._near[0] not in self._rows:
            heappop(self._near)

    def packed(self) -> dict[int, Array]:
        """All packed requests, by deadline."""
        near = {deadline_ms: _as_rows(timer) for deadline_ms, timer in self._rows.items()}
        return {**near, **dict(self._far.items())}

    def load(self, deadlines_ms: Array, rows: Array) -> None:
        """Take packed requests whose deadlines ascend; must be new."""
        self._far.load(deadlines_ms, rows)

    def _approach(self) -> None:
        """The next deadlines are no longer far off."""
        opened = self._far.open_next()
        for deadline_ms, rows in opened:
            self._rows[deadline_ms] = array("I", rows.tobytes())
        begins_ms = self._far.begins_ms
        # Deadlines of earlier spans stand in the heap already.
        young = [it for it in self._young if begins_ms - SPAN_MS <= it < begins_ms]
        for deadline_ms in {*young, *(deadline_ms for deadline_ms, _ in opened)}:
            heappush(self._near, deadline_ms)


def _as_rows(timer: array[int] | None) -> Array:
    return np.array(timer if timer is not None else (), dtype="<u4")
