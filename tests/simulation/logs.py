"""Simulated topics: append-only lists, brokers that duplicate and reorder, a log's own time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tidegate.schemas.marks import Mark, Marker, Tick
from tidegate.streams.merge import Fetched

TICK_STEP_MS = 600_000

Place = tuple[str, int]
"""Topic without prefix, partition."""


class Entry(NamedTuple):
    """One record: its value or its mark, its key, and its Kafka timestamp in ms."""

    value: bytes | None
    mark: Mark | None
    key: bytes
    timestamp_ms: int


class Log:
    """One topic-partition."""

    __slots__ = ("_times", "entries", "values")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.values = 0
        self._times: list[int] = []

    def append(self, entry: Entry) -> None:
        """The next record; `values` counts those that have one."""
        self.entries.append(entry)
        self.values += entry.value is not None

    def fetch(self, offset: int, limit: int) -> Fetched:
        """At most `limit` records from `offset` on, as the transport hands them over."""
        found = self.entries[offset : offset + limit]
        return Fetched(
            offset,
            [item.value for item in found],
            [(index, item.mark) for index, item in enumerate(found) if item.mark is not None],
            lambda index: found[index].timestamp_ms,
        )

    def times(self) -> list[int]:
        """Log time of every record, by the rule as it is documented; not the merge's code."""
        if len(self._times) == len(self.entries):
            return self._times
        now = announced = 0
        found = []
        for entry in self.entries:
            if isinstance(entry.mark, Tick):
                tick = entry.mark.log_time_ms
                near = now == 0 or tick - max(now, announced) <= TICK_STEP_MS
                if tick > now and near:
                    now = tick
            elif isinstance(entry.mark, Marker) and entry.mark.kind == "time-jump":
                announced = max(announced, int(entry.mark.arguments.get("to_ms", "0")))
            found.append(now)
        self._times = found
        return found


@dataclass(slots=True)
class Sent:
    """A record on its way to a broker."""

    place: Place
    key: bytes
    value: bytes
    timestamp_ms: int


@dataclass(slots=True)
class Cluster:
    """All topics, and what is between producers and brokers.

    `away` are topic-partitions without a leader: nothing can be written to or fetched from them.
    `flying` are records of plain producers that no broker has taken yet: they may arrive in any
    order, twice, or late.
    """

    logs: defaultdict[Place, Log] = field(default_factory=lambda: defaultdict(Log))
    away: set[Place] = field(default_factory=set)
    flying: list[Sent] = field(default_factory=list)
    taken: list[Sent] = field(default_factory=list)

    def append(self, place: Place, entry: Entry) -> None:
        """A broker takes a record."""
        self.logs[place].append(entry)

    def send(self, sent: Sent, held: bool) -> None:
        """A plain producer sends: at once, or it is held up where nobody can see it."""
        if held or sent.place in self.away:
            self.flying.append(sent)
        else:
            self.land(sent)

    def land(self, sent: Sent) -> None:
        """A record of a plain producer arrives."""
        self.append(sent.place, Entry(sent.value, None, sent.key, sent.timestamp_ms))
        self.taken.append(sent)

    def release(self, choice: int, twice: bool) -> None:
        """One of the records that were held up arrives, perhaps twice: its producer tried again."""
        ready = [number for number, sent in enumerate(self.flying) if sent.place not in self.away]
        if not ready:
            return
        number = ready[choice % len(ready)]
        sent = self.flying[number] if twice else self.flying.pop(number)
        self.land(sent)

    def fetch(self, place: Place, offset: int, limit: int) -> Fetched | None:
        """What a consumer gets; None when there is nothing new or nobody to ask."""
        log = self.logs[place]
        if place in self.away or offset >= len(log.entries):
            return None
        return log.fetch(offset, limit)

    def newest(self, place: Place) -> list[Entry]:
        """A compacted topic as a consumer finds it that reads from the beginning."""
        kept: dict[bytes, Entry] = {}
        for entry in self.logs[place].entries:
            kept.pop(entry.key, None)
            kept[entry.key] = entry
        return list(kept.values())
