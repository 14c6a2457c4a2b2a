"""Requests that are open, and those that were closed a little while ago.

An open request is its key and one packed value; its deadline is known to its timer alone. A
closed one keeps what tells duplicates and late comers apart. Both are bounded by count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import islice

Timers = tuple[list[list[int]], list[bytes]]
"""[deadline, number of keys] ascending, and the keys in that order."""


class Requests:
    """State per request key (16 bytes).

    `open` maps to head, features and entries, `closed` to identity and entries, as in `layout`.
    `timers` maps a deadline to the keys that close then, in canonical order.
    """

    __slots__ = ("_deadlines", "_forgetting", "closed", "latest_deadline_ms", "open", "timers")

    def __init__(self) -> None:
        self.open: dict[bytes, bytes] = {}
        self.closed: dict[bytes, bytes] = {}
        self.timers: dict[int, list[bytes]] = {}
        self.latest_deadline_ms = 0
        self._deadlines: list[int] = []
        # `closed` is filled in the order in which it is forgotten: counts per deadline suffice.
        self._forgetting: deque[list[int]] = deque()

    def timer(self, deadline_ms: int) -> list[bytes]:
        """The keys that close at `deadline_ms`, to append to."""
        keys = self.timers.get(deadline_ms)
        if keys is None:
            keys = self.timers[deadline_ms] = []
            heappush(self._deadlines, deadline_ms)
            self.latest_deadline_ms = max(self.latest_deadline_ms, deadline_ms)
        return keys

    def due(self, log_time_ms: int) -> Iterator[tuple[int, list[bytes]]]:
        """Take out, earliest first, the deadlines that have come, with their keys."""
        while self._deadlines and self._deadlines[0] <= log_time_ms:
            deadline_ms = heappop(self._deadlines)
            yield deadline_ms, self.timers.pop(deadline_ms)

    def remember(self, deadline_ms: int, count: int) -> None:
        """The last `count` keys put into `closed` had this deadline."""
        self._forgetting.append([deadline_ms, count])

    def forget(self, through_ms: int, closed_max: int) -> None:
        """Forget closed requests with deadlines up to `through_ms`, and the oldest of too many."""
        queue = self._forgetting
        excess = len(self.closed) - closed_max
        gone = 0
        while queue and (queue[0][0] <= through_ms or gone < excess):
            count = queue[0][1]
            if queue[0][0] > through_ms:
                count = min(count, excess - gone)
            gone += count
            queue[0][1] -= count
            if not queue[0][1]:
                queue.popleft()
        for key in list(islice(self.closed, gone)):
            del self.closed[key]

    def expire(self) -> tuple[bytes, bytes]:
        """Take out an open request with the earliest deadline: the one that came last."""
        deadline_ms = self._deadlines[0]
        keys = self.timers[deadline_ms]
        key = keys.pop()
        if not keys:
            heappop(self._deadlines)
            del self.timers[deadline_ms]
        return key, self.open.pop(key)

    def dump_timers(self) -> Timers:
        """Open requests by deadline."""
        deadlines = sorted(self.timers)
        counts = [[deadline_ms, len(self.timers[deadline_ms])] for deadline_ms in deadlines]
        return counts, [key for deadline_ms in deadlines for key in self.timers[deadline_ms]]

    def load_timers(self, counts: list[list[int]], keys: list[bytes]) -> None:
        """Become what `dump_timers` told."""
        self.timers = {}
        start = 0
        for deadline_ms, count in counts:
            self.timers[deadline_ms] = keys[start : start + count]
            start += count
        self._deadlines = list(self.timers)
        heapify(self._deadlines)

    def dump_forgetting(self) -> list[list[int]]:
        """[deadline, number of keys] of closed requests, in the order of `closed`."""
        return [list(pair) for pair in self._forgetting]

    def load_forgetting(self, pairs: list[list[int]]) -> None:
        """Become what `dump_forgetting` told."""
        self._forgetting = deque(list(pair) for pair in pairs)
