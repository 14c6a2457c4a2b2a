"""Requests that are open, and those that were closed a little while ago.

An open request is its key and one packed value; its deadline is known to its timer alone. A
closed one keeps what tells duplicates and late comers apart. Both are bounded by count.

The young ones are in dicts, where the joiner's loops work; older ones are packed, and come within
reach when a run speaks of them. Where a request is changes nothing that anybody can see.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from tidegate.streams.joining.changes import Changes
from tidegate.streams.joining.layout import closed_values, is_open
from tidegate.streams.joining.packed import Dumped, Packed
from tidegate.streams.joining.rebuilding import rebuild
from tidegate.streams.joining.timers import Timers

Array = NDArray[Any]
Chunked = TypeVar("Chunked", list[bytes], Array)

Closing = tuple[list[bytes], list[bytes]]
"""Keys and values of requests that close, in that order."""

YOUNG_MAX: Final = 131_072
"""So many open requests may be in the dict, so many recalled ones, and half as many closed ones:
young ones are asked for the most, and a dict answers fastest."""
_CHUNK: Final = 1_024
"""So many requests are packed or unpacked at once: what that takes meanwhile is memory too."""
_UNPACKED_AT_ONCE: Final = 256
_DEADLINES_AT_ONCE: Final = 256


class Requests:
    """State per request key (16 bytes).

    `open` maps to head, features and entries, `closed` to identity and entries, as in `layout`:
    of the young, and of those which the run that was announced by `recall` speaks of. `timers`
    maps a deadline to the keys of the young that close then, in canonical order; packed ones
    with the same deadline come before them.
    """

    __slots__ = (
        "_borrowed",
        "_forgetting",
        "_packed",
        "_packed_closed",
        "_recalled",
        "_timers",
        "closed",
        "latest_deadline_ms",
        "open",
        "timers",
    )

    def __init__(self) -> None:
        self.open: dict[bytes, bytes] = {}
        self.closed: dict[bytes, bytes] = {}
        self.timers: dict[int, list[bytes]] = {}
        self.latest_deadline_ms = 0
        self._timers = Timers(self.timers)
        # Closed requests are kept in the order in which they are forgotten, packed ones first:
        # counts per deadline suffice.
        self._forgetting: deque[list[int]] = deque()
        self._packed = Packed()
        self._packed_closed = bytearray()
        # Keys in `open` and `closed` that are packed at the same time.
        self._recalled: dict[bytes, int] = {}
        self._borrowed: list[bytes] = []

    @property
    def open_count(self) -> int:
        """How many requests are open."""
        return len(self.open) - len(self._recalled) + len(self._packed) - self._packed_closed_count

    @property
    def closed_count(self) -> int:
        """How many closed requests are remembered."""
        return len(self.closed) - len(self._borrowed) + self._packed_closed_count

    @property
    def _packed_closed_count(self) -> int:
        return len(self._packed_closed) // 4

    def recall(self, keys: Sequence[bytes], *, new: bool = False) -> None:
        """Bring within reach what a run speaks of; between runs, what is old is packed.

        `new` says that most keys are expected to be new: then looking for young ones first is
        not worth while.
        """
        self._return_closed()
        if len(self._recalled) > YOUNG_MAX:
            self._settle()
        if len(self.open) - len(self._recalled) > YOUNG_MAX:
            self._pack_open()
        if len(self.closed) > YOUNG_MAX // 2:
            self._pack_closed()
        if len(self._packed):
            within = self._recalled if new else self.open
            asked = [key for key in keys if key not in within] if within else keys
            found = dict(self._packed.find(asked))
            rows = np.fromiter(found.values(), dtype="<u4", count=len(found))
            for key, value in zip(found, self._packed.values(rows), strict=True):
                if is_open(value):
                    self.open[key] = value
                    self._recalled[key] = found[key]
                else:
                    self.closed[key] = value
                    self._borrowed.append(key)

    def timer(self, deadline_ms: int) -> list[bytes]:
        """The keys that close at `deadline_ms`, to append to until a request expires."""
        keys = self.timers.get(deadline_ms)
        if keys is None:
            keys = self.timers[deadline_ms] = []
            self._timers.expect(deadline_ms)
            self.latest_deadline_ms = max(self.latest_deadline_ms, deadline_ms)
        return keys

    def due(self, log_time_ms: int) -> Iterator[Closing]:
        """Requests whose deadlines have come, in the order in which they close, some at a time.

        They are no longer open; they count as closed when the next are asked for.
        """
        self._return_closed()
        # Behind hours without a tick there are very many deadlines of few requests each.
        packed: list[Array] = []
        for deadline_ms, rows in self._timers.due(log_time_ms):
            keys = self.timers.pop(deadline_ms, [])
            self._forgetting.append([deadline_ms, len(rows) + len(keys)])
            if len(rows):
                packed.append(rows)
            if keys or len(packed) >= _DEADLINES_AT_ONCE:
                yield from self._close_packed(packed)
            for part in _chunks(keys):
                values = list(map(self.open.pop, part))
                yield part, values
                self.closed.update(zip(part, closed_values(values), strict=True))
        yield from self._close_packed(packed)

    def forget(self, through_ms: int, closed_max: int) -> None:
        """Forget closed requests with deadlines up to `through_ms`, and the oldest of too many."""
        queue = self._forgetting
        excess = self.closed_count - closed_max
        gone = 0
        while queue and (queue[0][0] <= through_ms or gone < excess):
            count = queue[0][1]
            if queue[0][0] > through_ms:
                count = min(count, excess - gone)
            gone += count
            queue[0][1] -= count
            if not queue[0][1]:
                queue.popleft()
        if not gone:
            return
        packed = min(gone, self._packed_closed_count)
        for rows in _chunks(_rows(self._packed_closed[: 4 * packed])):
            self._packed.remove(rows)
        del self._packed_closed[: 4 * packed]
        for key in list(islice(self.closed, gone - packed)):
            del self.closed[key]

    def expire(self) -> tuple[int, bytes, bytes]:
        """Take out an open request with the earliest deadline, the one that came last: deadline,
        key and value."""
        deadline_ms = self._timers.first()
        if deadline_ms not in self.timers:
            self._unpack_last(deadline_ms)
        keys = self.timers[deadline_ms]
        key = keys.pop()
        if not keys:
            del self.timers[deadline_ms]
            self._timers.drop_first()
        return deadline_ms, key, self.open.pop(key)

    def remembered_ms(self, log_time_ms: int) -> int:
        """All requests with deadlines before this are forgotten."""
        return self._forgetting[0][0] if self._forgetting else log_time_ms + 1

    def dump(self) -> tuple[Array, Dumped]:
        """Deadlines; requests. Closed ones first, oldest first, then open ones by deadline."""
        self._return_closed()
        self._settle()
        self._pack_closed()
        packed = self._timers.packed()
        deadlines = sorted(self.timers.keys() | packed.keys())
        young = [key for it in deadlines for key in self.timers.get(it, ())]
        stored = self._packed.store(young, list(map(self.open.__getitem__, young)))
        order, counts, start = [_rows(self._packed_closed)], list[int](), 0
        for deadline_ms in deadlines:
            rows = packed.get(deadline_ms, stored[:0])
            stop = start + len(self.timers.get(deadline_ms, ()))
            order += [rows, stored[start:stop]]
            counts.append(len(rows) + stop - start)
            start = stop
        dumped = self._packed.dump(np.concatenate(order))
        self._packed.release(stored)
        closed = np.array(self._forgetting, dtype=np.int64).reshape(-1, 2)
        times = np.concatenate([closed[:, 0], np.array(deadlines, dtype=np.int64)])
        return np.repeat(times, np.concatenate([closed[:, 1], np.array(counts, np.int64)])), dumped

    def head(self) -> dict[str, Any]:
        """What the changes of requests do not tell."""
        return {
            "open": self.open_count,
            "latest_deadline_ms": self.latest_deadline_ms,
            "forgetting": [list(pair) for pair in self._forgetting],
        }

    def load(self, head: Mapping[str, Any], parts: list[Changes], log_time_ms: int) -> None:
        """Become what is left of all changes, which are taken off the list; must be new.

        Raises:
            ValueError: changes are missing.
        """
        self.latest_deadline_ms = head["latest_deadline_ms"]
        self._forgetting = deque(list(pair) for pair in head["forgetting"])
        closed = sum(count for _, count in self._forgetting)
        left = rebuild(self._packed, parts, log_time_ms, closed)
        if len(left.deadlines_ms) != head["open"]:
            raise ValueError(f"{len(left.deadlines_ms)} requests are open, not {head['open']}")
        self._packed_closed += np.arange(closed, dtype="<u4").tobytes()
        self._timers.load(left.deadlines_ms, np.arange(closed, closed + head["open"]))

    def _close_packed(self, packed: list[Array]) -> Iterator[Closing]:
        """A request that closes packed stays where it is, with less behind it; empties the list."""
        if not packed:
            return
        self._settle()
        self._pack_closed()
        rows = np.concatenate(packed)
        packed.clear()
        for part in _chunks(rows):
            values = self._packed.values(part)
            yield self._packed.keys(part), values
            self._packed.change(part, closed_values(values))
            self._packed_closed += part.tobytes()

    def _pack_open(self) -> None:
        """Pack the oldest: those with the timers that were begun first."""
        young = len(self.open) - len(self._recalled)
        excess = min(young, young - YOUNG_MAX + _CHUNK)
        while excess:
            deadline_ms, keys = next(iter(self.timers.items()))
            part = keys[: min(excess, _CHUNK)]
            del keys[: len(part)]
            if not keys:
                del self.timers[deadline_ms]
            excess -= len(part)
            rows = self._packed.pack(part, list(map(self.open.pop, part)))
            self._timers.add(deadline_ms, rows)

    def _unpack_last(self, deadline_ms: int) -> None:
        """The last packed requests of a deadline become young again."""
        rows = self._timers.take_last(_UNPACKED_AT_ONCE)
        keys = self._packed.keys(rows)
        for key, value in zip(keys, self._packed.values(rows), strict=True):
            if self._recalled.pop(key, None) is None:
                self.open[key] = value
        self._packed.remove(rows)
        self.timers[deadline_ms] = keys

    def _settle(self) -> None:
        """Recalled requests go back to where they are packed, with what was joined to them."""
        if not self._recalled:
            return
        rows = np.fromiter(self._recalled.values(), dtype="<u4", count=len(self._recalled))
        self._packed.change(rows, [self.open.pop(key) for key in self._recalled])
        self._recalled.clear()

    def _pack_closed(self) -> None:
        for part in _chunks(list(self.closed)):
            rows = self._packed.pack(part, list(map(self.closed.__getitem__, part)))
            self._packed_closed += rows.tobytes()
        self.closed.clear()

    def _return_closed(self) -> None:
        for key in self._borrowed:
            del self.closed[key]
        self._borrowed.clear()


def _rows(packed: bytes | bytearray) -> Array:
    """Row numbers as they are kept -> an array of its own."""
    return np.frombuffer(bytes(packed), dtype="<u4")


def _chunks(items: Chunked) -> Iterator[Chunked]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
