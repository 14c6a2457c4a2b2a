"""How far log time is behind the clock: as tickers write it, and as agents conclude it.

A tick need not move log time (one far ahead of the last is taken for a broken clock), so young
ticks prove nothing: the time in force is what deciders tell with every heartbeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from tidegate.agents.commands.logs import decoded, newest_first
from tidegate.agents.kafka import new_consumer, read_topic, watermarks
from tidegate.agents.settings import Settings
from tidegate.schemas.events import Command
from tidegate.schemas.marks import Tick, read_mark
from tidegate.schemas.topics import merged_topics

TICK_RECORDS = (50, 1_000, 10_000)
"""How far back a tick is looked for, and how far when there was none: the last is some hundred
milliseconds of a log at its fullest. An idle log holds little but ticks, and an embedded broker
hands them out one by one."""
_HEARTBEAT_RECORDS = 2_000


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the decider of one partition told last; times in ms, `watermark_ms` -1 without any."""

    log_time_ms: int
    watermark_ms: int


def last_ticks(settings: Settings) -> dict[str, int | None]:
    """Time of the last tick by `topic-partition` of every merged log; None where there is none.

    Raises:
        Unreachable: no broker answers.
    """
    found: dict[str, int | None] = {}
    names = dict.fromkeys(
        topic.name for role in ("decider", "joiner") for topic in merged_topics(role)
    )
    for name in names:
        consumer = new_consumer(settings)
        try:
            bounds = watermarks(settings, consumer, name)
        finally:
            consumer.close()
        told = dict.fromkeys(bounds, 0)
        for records in TICK_RECORDS:
            silent = [each for each, log_time_ms in told.items() if not log_time_ms]
            if silent:
                _look_back(settings, name, {each: bounds[each] for each in silent}, records, told)
        found |= {f"{name}-{partition}": told[partition] or None for partition in told}
    return found


def _look_back(
    settings: Settings,
    name: str,
    bounds: Mapping[int, tuple[int, int]],
    records: int,
    told: dict[int, int],
) -> None:
    """Raise `told` to the last tick among the last `records` of the partitions in `bounds`."""
    starts = {each: max(low, high - records) for each, (low, high) in bounds.items()}
    ends = {each: high for each, (_, high) in bounds.items()}
    for record in read_topic(settings, name, list(bounds), starts, ends):
        mark = read_mark(record.headers) if record.value is None else None
        if isinstance(mark, Tick):
            told[record.partition] = max(told[record.partition], mark.log_time_ms)


def heartbeats(settings: Settings) -> dict[int, Heartbeat | None]:
    """The last heartbeat by decision partition; None where no decider was heard lately.

    Raises:
        Unreachable: no broker answers.
    """
    return {each: _heartbeat(settings, each) for each in range(settings.decision_partitions)}


def _heartbeat(settings: Settings, partition: int) -> Heartbeat | None:
    records = islice(newest_first(settings, "commands", partition), _HEARTBEAT_RECORDS)
    for command in decoded(Command, records):
        if command.kind == "HEARTBEAT":
            told = command.arguments
            return Heartbeat(int(told["log_time"]), int(told["watermark"]))
    return None
