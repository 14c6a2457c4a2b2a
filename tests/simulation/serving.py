"""Simulated services: the client's real tables, link, reporter and events, without its threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.logs import Cluster, Entry, Place, Sent
from tidegate.agents.client import client as client_module
from tidegate.agents.client import events, link, reporter
from tidegate.agents.client.breaker import Breaker
from tidegate.agents.client.client import Client
from tidegate.agents.client.link import Link
from tidegate.agents.client.options import ClientOptions
from tidegate.agents.client.reporter import Reporter
from tidegate.agents.client.subscriber import _TAKE
from tidegate.agents.client.tables import Tables
from tidegate.schemas import codec
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import Event, Routing
from tidegate.schemas.partitioner import partition_of
from tidegate.streams.assignment import Assignment

TIMED = (client_module, events, link, reporter)
"""Modules of the client that read a clock; a schedule gives them its own."""

OPTIONS = ClientOptions(instance="host", fresh_seconds=2.0, max_staleness_seconds=6.0)
READ = ("routing", "control", "commands")


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now_ms: Callable[[], int] = lambda: 0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now_ms() / 1_000

    def time(self) -> float:
        """Seconds since 1970."""
        return self.now_ms() / 1_000

    def time_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self.now_ms() * 1_000_000


class _Emitter:
    """Stands in for a producer: events go to the simulated brokers, or fail."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def emit(
        self, topic: str, key: str, event: Event, partition: int = -1,
        callback: Callable[[bool], None] | None = None,
    ) -> bool:
        service = self._service
        cluster, count = service.cluster, service.partitions
        place = (topic, partition if partition >= 0 else partition_of(key.encode(), count))
        arrives = service.linked and place not in cluster.away
        sent = Sent(place, key.encode(), codec.encode(event), service.now_ms())
        if topic != "applied":
            # Kept and tried again for as long as it takes.
            cluster.send(sent, held=not service.linked or service.holds)
            return True
        if arrives:
            cluster.send(sent, held=service.holds)
        if callback is not None:
            callback(arrives)
        return True

    def poll(self) -> None:
        """Reports are delivered at once here."""


class _Memory:
    """Stands in for the cache on disk; outlives its process."""

    def __init__(self) -> None:
        self.known: list[Any] = []
        self.heard_at_ms: int | None = None

    def save(self, tables: Tables, heard_at_ms: int) -> bool:
        self.known, self.heard_at_ms = tables.known(), heard_at_ms
        return True

    def load(self, tables: Tables) -> int | None:
        for item in self.known:
            tables.restore(*item)
        return self.heard_at_ms


@dataclass
class Service:
    """One serving process. `linked` is False while it cannot reach Kafka."""

    name: str
    cluster: Cluster
    partitions: int
    now_ms: Callable[[], int]
    cache: _Memory = field(default_factory=_Memory)
    linked: bool = True
    holds: bool = False
    incarnation: int = 0
    heard_tables: list[Routing] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new process: reads routing and control from their beginnings."""
        self.incarnation += 1
        self.tables, self.breaker = Tables(), Breaker()
        self.reporter = object.__new__(Reporter)
        vars(self.reporter).update(
            _client_id=f"{self.name}{self.incarnation}", _instance="host", partitions=0,
            emitter=_Emitter(self), acknowledged_at=float("-inf"), _unsaid=set(),
            _all_unsaid=False,
        )
        self.link = object.__new__(Link)
        vars(self.link).update(
            _tables=self.tables, _breaker=self.breaker, heard={}, linked_at=float("-inf"),
            _generations={}, on_change=[], on_command=[], _cache=self.cache, _waking=_Bell(),
            reporter=self.reporter, events=_Emitter(self),
        )
        self.client = object.__new__(Client)
        vars(self.client).update(
            _tables=self.tables, _link=self.link, _options=OPTIONS, _counters=Counter()
        )
        self.events = events.Events(self.link, self.tables, OPTIONS)
        self.heard_tables = []
        self.heard_orders: list[tuple[int, str]] = []
        self._waiting: dict[Place, list[Entry]] | None = None
        self._offsets: dict[Place, int] = {}
        self._unread: set[str] = {"routing", "control"}
        self.link._load()

    def stop(self) -> None:
        """The process ends well: it says goodbye."""
        for partition in range(self.reporter.partitions):
            bare = self.reporter._bare("GOODBYE", False)
            self.reporter.emitter.emit("applied", self.name, bare, partition)

    def poll(self, topic: str, limit: int) -> bool:
        """Reads some records of one topic; whether there were any."""
        if not self.linked or (topic, 0) in self.cluster.away:
            return False
        if self._waiting is None:
            self._connect()
        assert self._waiting is not None
        place = (topic, 0)
        backlog, log = self._waiting[place], self.cluster.logs[place]
        news = backlog[:limit]
        del backlog[:limit]
        if not backlog and len(news) < limit:
            start = self._offsets[place]
            news += log.entries[start : start + limit - len(news)]
            self._offsets[place] = min(start + limit, len(log.entries))
        for entry in news:
            if entry.value is not None:
                self._take(topic, entry)
        if not backlog and self._offsets[place] == len(log.entries):
            self._unread.discard(topic)
        if not self._unread:
            self.link.caught_up()
        return bool(news)

    def _connect(self) -> None:
        places = [(topic, 0) for topic in READ]
        self._offsets = {place: len(self.cluster.logs[place].entries) for place in places}
        # Commands are read from now on, control from its beginning, tables as compaction left them.
        self._waiting = {
            ("routing", 0): self.cluster.newest(("routing", 0)),
            ("control", 0): list(self.cluster.logs["control", 0].entries),
            ("commands", 0): [],
        }
        self.link.connected(1)
        self.beat()

    def _take(self, topic: str, entry: Entry) -> None:
        assert entry.value is not None
        try:
            _TAKE[topic](self.link, entry.value, 0, entry.timestamp_ms)
        except EventError:
            return
        if topic == "routing":
            self.heard_tables.append(codec.decode_as(Routing, entry.value))

    def beat(self) -> None:
        """What the keeper's thread does in a round."""
        self.reporter.heartbeat(bool(self.breaker.experiments()))
        self.link.linked_at = max(self.link.linked_at, self.reporter.acknowledged_at)
        self.reporter.repeat(self.tables.in_force)
        for experiment in self.breaker.experiments():
            self.link.cut(experiment)

    def check(self, drawn: Assignment) -> None:
        """I17."""

    def fail(self, experiment: str, variant: str, control: str) -> None:
        """A candidate's model raises again and again here."""
        for _ in range(6):
            if self.breaker.record(experiment, variant, control, True, self.now_ms() / 1_000):
                self.link.cut(experiment)

    def assign(self, experiment: str, unit: str, request_id: str) -> Assignment:
        """The real draw."""
        return Client.assign(
            self.client, experiment, unit, request_id=request_id, default="champion"
        )


class _Bell:
    """Stands in for an event that nobody waits for."""

    def set(self) -> None:
        """Nothing to wake."""
