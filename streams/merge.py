"""Canonical merge: co-partitioned logs become one order that depends on their records alone.

The order is `(log time, rank, offset)`. The log time of a record is the largest tick before it in
its own log, so every log is a row of segments of equal log time, and whole segments are released
at once. The cost is per segment, not per record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tidegate.schemas.breaks import Gaps, follow
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.marks import Mark, Marker, Tick, announced_ms

MAX_TICK_STEP_MS = 600_000
"""A tick further ahead of the last is a broken clock, unless a `time-jump` marker announced it."""

MAX_LOG_TIME_MS = 253_402_300_799_999
"""The end of the year 9999: a tick beyond it is no time, even as the first of its log."""


class LogGap(TidegateError):
    """A log lost records that the fold still needs: going on would conclude something else.

    `rank` names the log, `expected` the next offset the fold needs, `found` the one that came.
    """

    def __init__(self, rank: int, expected: int, found: int) -> None:
        super().__init__(
            f"log of rank {rank}: offset {expected} is needed next, but {found} came; "
            f"{found - expected} records are missing (deleted by retention, or the topic was "
            "made anew)"
        )
        self.rank = rank
        self.expected = expected
        self.found = found


@dataclass(slots=True)
class Fetched:
    """One fetch of one topic-partition: `values[i]` has offset `first_offset + i`, none missing.

    `marks` holds (index, mark) of the records without value that carry one, ascending.
    `timestamps` gives the Kafka timestamp (ms) of the record at an index.
    """

    first_offset: int
    values: list[bytes | None]
    marks: list[tuple[int, Mark]]
    timestamps: Callable[[int], int]


@dataclass(slots=True)
class Run:
    """Released records of one rank inside one interval: `values[start:stop]`, marks excluded.

    `first_offset` is the offset of `values[start]`; `timestamps` takes an index into `values`.
    """

    rank: int
    log_time_ms: int
    first_offset: int
    values: list[bytes | None]
    start: int
    stop: int
    timestamps: Callable[[int], int]


class Segment(NamedTuple):
    """Records `start` to `stop` of a fetch, at one log time; the first may be a mark.

    `jump_ms` is the time up to which a jump has been announced, 0 when none was.
    """

    log_time_ms: int
    fetched: Fetched
    start: int
    stop: int
    mark: Mark | None
    jump_ms: int


class Merge:
    """Canonical merge of the logs of one partition index.

    The bound of a log is (log time of its buffered head, or, when nothing is buffered, of the last
    record fed; rank). The smallest bound goes next. When it belongs to an empty buffer nothing may
    be released, because that log can still bring a record with this very key. So there is always
    a log with an empty buffer that is wanted (`blocked_on`), and no deadlock.
    """

    __slots__ = (
        "_buffered",
        "_fed_jumps_ms",
        "_fed_times_ms",
        "_gaps",
        "_segments",
        "fetch_offsets",
        "jumps_ms",
        "log_times_ms",
        "next_offsets",
    )

    def __init__(
        self,
        next_offsets: Sequence[int],
        log_times_ms: Sequence[int],
        jumps_ms: Sequence[int] | None = None,
        gaps: Mapping[int, Gaps] | None = None,
    ) -> None:
        """Start, or go on at a position: what `next_offsets`, `log_times_ms`, `jumps_ms` told.

        `gaps` has, by rank, what is accepted as lost; where records are missing its marker stands.
        """
        self.next_offsets = list(next_offsets)
        self.log_times_ms = list(log_times_ms)
        self.jumps_ms = list(jumps_ms) if jumps_ms is not None else [0] * len(self.next_offsets)
        self.fetch_offsets = list(self.next_offsets)
        self._fed_times_ms = list(self.log_times_ms)
        self._fed_jumps_ms = list(self.jumps_ms)
        self._segments: list[deque[Segment]] = [deque() for _ in self.next_offsets]
        self._buffered = [0] * len(self.next_offsets)
        self._gaps = gaps or {}
        for rank in self._gaps:
            self._pass_gaps(rank)

    def feed(self, rank: int, fetched: Fetched) -> None:
        """Take a fetch; what was fed before is trimmed.

        Raises:
            LogGap: the fetch begins behind the next offset needed.
        """
        expected = self.fetch_offsets[rank]
        if fetched.first_offset > expected:
            raise LogGap(rank, expected, fetched.first_offset)
        start = expected - fetched.first_offset
        stop = len(fetched.values)
        if start >= stop:
            return
        time_ms, jump_ms = self._fed_times_ms[rank], self._fed_jumps_ms[rank]
        mark: Mark | None = None
        segments = self._segments[rank]
        begin = start
        for index, following in fetched.marks:
            if index < start:
                continue
            if index > begin:
                segments.append(Segment(time_ms, fetched, begin, index, mark, jump_ms))
            if isinstance(following, Tick):
                time_ms = _after_tick(time_ms, jump_ms, following.log_time_ms)
            elif following.kind == "time-jump":
                jump_ms = max(jump_ms, announced_ms(following))
            begin, mark = index, following
        segments.append(Segment(time_ms, fetched, begin, stop, mark, jump_ms))
        self._fed_times_ms[rank], self._fed_jumps_ms[rank] = time_ms, jump_ms
        self._buffered[rank] += stop - start
        self.fetch_offsets[rank] = fetched.first_offset + stop
        if rank in self._gaps:
            self._pass_gaps(rank)

    def after(self, rank: int, offset: int) -> int:
        """Where the log goes on when `offset` is next: behind what is accepted as lost there."""
        return follow(self._gaps.get(rank, {}), offset)

    def buffered(self, rank: int) -> int:
        """How many records of a log are fed and not yet released."""
        return self._buffered[rank]

    def blocked_on(self) -> int:
        """The log whose bound is smallest; when nothing can be released, the one to fetch."""
        best, best_ms = 0, -1
        for rank, segments in enumerate(self._segments):
            time_ms = segments[0].log_time_ms if segments else self._fed_times_ms[rank]
            if best_ms < 0 or time_ms < best_ms:  # ranks ascend: a tie stays with the lower
                best, best_ms = rank, time_ms
        return best

    def head(self) -> tuple[int, Segment] | None:
        """The segment that goes next and its rank; None when nothing may be released."""
        rank = self.blocked_on()
        segments = self._segments[rank]
        return (rank, segments[0]) if segments else None

    def put_back(self, run: Run) -> None:
        """Take back the run released last: nothing came of it, and it goes first once more."""
        rank, count = run.rank, run.stop - run.start
        fetched = Fetched(run.first_offset - run.start, run.values, [], run.timestamps)
        self._segments[rank].appendleft(
            Segment(run.log_time_ms, fetched, run.start, run.stop, None, self.jumps_ms[rank])
        )
        self._buffered[rank] += count
        self.next_offsets[rank] -= count

    def release(self, rank: int, limit: int) -> tuple[int, Marker | None, Run | None]:
        """Release at most `limit` records of the head segment, which is of `rank`.

        Returns how many records were released, the marker that goes first if there is one, and
        the run that follows it if there is one.
        """
        segments = self._segments[rank]
        time_ms, fetched, start, stop, mark, jump_ms = segments.popleft()
        if stop - start > limit:
            segments.appendleft(Segment(time_ms, fetched, start + limit, stop, None, jump_ms))
            stop = start + limit
        self._buffered[rank] -= stop - start
        self.next_offsets[rank] += stop - start
        if isinstance(mark, Marker) and mark.kind == "skip":
            self.next_offsets[rank] = int(mark.arguments["end"])
        self.log_times_ms[rank], self.jumps_ms[rank] = time_ms, jump_ms
        first = start if mark is None else start + 1
        run = None
        if first < stop:
            offset = fetched.first_offset + first
            run = Run(rank, time_ms, offset, fetched.values, first, stop, fetched.timestamps)
        return stop - start, mark if isinstance(mark, Marker) else None, run

    def _pass_gaps(self, rank: int) -> None:
        """Put markers where the log goes on behind accepted gaps; each counts as one record."""
        gaps = self._gaps[rank]
        while (offset := self.fetch_offsets[rank]) in gaps:
            nothing = Fetched(offset, [None], [], lambda index: 0)
            time_ms, jump_ms = self._fed_times_ms[rank], self._fed_jumps_ms[rank]
            self._segments[rank].append(Segment(time_ms, nothing, 0, 1, gaps[offset], jump_ms))
            self._buffered[rank] += 1
            self.fetch_offsets[rank] = int(gaps[offset].arguments["end"])


def _after_tick(time_ms: int, jump_ms: int, tick_ms: int) -> int:
    """Log time after a tick.

    Several tickers write into one log, so a tick not above the running maximum says nothing. A
    tick far ahead is a broken clock unless announced; the first tick of a log has no last to be
    far ahead of.
    """
    if tick_ms <= time_ms or tick_ms > MAX_LOG_TIME_MS:
        return time_ms
    if time_ms == 0 or tick_ms - max(time_ms, jump_ms) <= MAX_TICK_STEP_MS:
        return tick_ms
    return time_ms
