"""Logs as lists, for tests: what the transport would make of them, fetched any way one likes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tidegate.schemas.marks import Mark, Marker, Tick
from tidegate.streams.folding import PartitionFold
from tidegate.streams.merge import Fetched

Record = bytes | None | Tick | Marker
"""One record of a log: a value, a tombstone, or a mark."""

Log = list[Record]


def fetch(log: Sequence[Record], first: int, count: int, timestamp_ms: int = 0) -> Fetched:
    """Records `first` to `first + count` of a log, as the transport would hand them over."""
    part = log[first : first + count]
    return Fetched(
        first_offset=first,
        values=[record if isinstance(record, bytes) else None for record in part],
        marks=marks_of(part),
        timestamps=lambda index: timestamp_ms,
    )


def marks_of(records: Sequence[Record]) -> list[tuple[int, Mark]]:
    """Ticks and markers among records, with their indices."""
    return [(index, it) for index, it in enumerate(records) if isinstance(it, Tick | Marker)]


def log_times_ms(log: Sequence[Record]) -> list[int]:
    """Log time of every record of a log without broken clocks: the running maximum of ticks."""
    times, now = [], 0
    for record in log:
        if isinstance(record, Tick):
            now = max(now, record.log_time_ms)
        times.append(now)
    return times


def feed_all(
    fold: PartitionFold,
    logs: Sequence[Sequence[Record]],
    sizes: Callable[[], int],
    choose: random.Random | None = None,
    cap: int = 5_000,
) -> None:
    """Feed logs to their end: fetches of `sizes()` records, in an order drawn by `choose`.

    A log is fetched while less than `cap` of it is buffered, as the transport does; overlaps
    happen, as after a rebalance.
    """
    while True:
        wanted = [
            rank
            for rank, log in enumerate(logs)
            if fold.merge.fetch_offsets[rank] < len(log) and fold.merge.buffered(rank) < cap
        ]
        if not wanted:
            return
        rank = choose.choice(wanted) if choose else wanted[0]
        back = choose.choice((0, 0, 3)) if choose else 0
        first = max(0, fold.merge.fetch_offsets[rank] - back)
        fold.feed(rank, fetch(logs[rank], first, back + sizes()))
        fold.drain()


def tick_all(logs: Sequence[Log], log_time_ms: int) -> None:
    """Append a tick to every log."""
    for log in logs:
        log.append(Tick(log_time_ms))
