"""Simulated services: the client's real tables, link, reporter and events, without its threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.invariants import hold
from tests.simulation.logs import Cluster, Entry, Place, Sent
from tests.simulation.people import EXPERIMENT
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
from tidegate.schemas.events import Command, Control, Event, Routing
from tidegate.schemas.partitioner import partition_of
from tidegate.streams.assignment import Assignment
from tidegate.streams.routing import weights_of

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
            service.proved_ms = service.now_ms()
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
            log_time_ms=0,
            _generations={}, on_change=[], on_command=[], _cache=self.cache, _waking=_Bell(),
            reporter=self.reporter, events=_Emitter(self),
        )
        self.client = object.__new__(Client)
        vars(self.client).update(
            _tables=self.tables, _link=self.link, _options=OPTIONS, _counters=Counter()
        )
        self.events = events.Events(self.link, self.tables, OPTIONS)
        self.heard: list[Routing] = [item[2] for item in self.cache.known if item[2] is not None]
        self.withheld: set[tuple[int, str]] = {
            (generation, name)
            for item in self.cache.known
            for generation, names in item[3].items()
            for name in names
        }
        self.obeyed: tuple[Routing, frozenset[str]] | None = None
        self.proved_ms = self.decider_ms = -(10**15)
        self._waiting: dict[Place, list[Entry]] | None = None
        self._offsets: dict[Place, int] = {}
        self._unread: set[str] = {"routing", "control"}
        self.link._load()
        if self.cache.heard_at_ms is not None:
            self.proved_ms = self.cache.heard_at_ms
            self._believe()

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
            fetched = log.entries[start : start + limit - len(news)]
            self._offsets[place] = start + len(fetched)
            news += fetched
        for entry in news:
            if entry.value is not None:
                self._take(topic, entry)
        if not backlog and self._offsets[place] == len(log.entries):
            self._unread.discard(topic)
        if not self._unread:
            self.link.caught_up()
            self._believe()
        self.link.linked_at = max(self.link.linked_at, self.reporter.acknowledged_at)
        return bool(news)

    def _believe(self) -> None:
        """I18, I9, I10: what a service must obey by what it was told; not the client's code."""
        item = self.tables.in_force.get(EXPERIMENT)
        if not self.heard:
            hold("I18", item is None or item.table is None, self.name, "obeys a table from nowhere")
            return
        best = max(self.heard, key=lambda table: (table.epoch, table.version))
        names = {name for generation, name in self.withheld if generation == best.generation}
        for table in self.heard:
            if table.generation == best.generation:
                names |= set(table.rolled_back)
        self.obeyed = (best, frozenset(names - {best.control}))
        assert item is not None
        assert item.table is not None
        table = item.table.routing
        hold("I18", table == best, self.name, "obeys", table, "not", best)
        hold("I18", set(item.rolled_back) == self.obeyed[1], self.name, item.rolled_back, names)

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
        self.proved_ms = self.now_ms()
        self.beat()

    def _take(self, topic: str, entry: Entry) -> None:
        assert entry.value is not None
        try:
            _TAKE[topic](self.link, entry.value, 0, entry.timestamp_ms)
        except EventError:
            return
        self._note(topic, entry)

    def _note(self, topic: str, entry: Entry) -> None:
        """Keeps what was told, for `_believe` and `check`."""
        if topic == "routing":
            self.heard.append(codec.decode_as(Routing, entry.value))
        elif topic == "commands":
            self.proved_ms = self.now_ms()
            if codec.decode_as(Command, entry.value).kind == "HEARTBEAT":
                self.decider_ms = self.now_ms()
        else:
            order = codec.decode_as(Control, entry.value)
            in_time = not order.expires_at or entry.timestamp_ms <= order.expires_at
            if order.action == "ROLLBACK" and order.generation and in_time:
                self.withheld.add((order.generation, order.arguments.get("variant", "")))

    def beat(self) -> None:
        """What the keeper's thread does in a round."""
        self.reporter.heartbeat(bool(self.breaker.experiments()))
        self.link.linked_at = max(self.link.linked_at, self.reporter.acknowledged_at)
        self.reporter.repeat(self.tables.in_force)
        for experiment in self.breaker.experiments():
            self.link.cut(experiment)

    def check(self, drawn: Assignment) -> tuple[float, float]:
        """I17 and I23 of one draw; returns by how much it deviates, and the variance of that."""
        if self.obeyed is None:
            hold("I17", drawn.reason == "DEFAULT", self.name, drawn)
            return 0.0, 0.0
        table, withheld = self.obeyed
        deaf = self.now_ms() - self.decider_ms > 1_000 * OPTIONS.fresh_seconds
        alone = self.now_ms() - self.proved_ms > 1_000 * OPTIONS.max_staleness_seconds
        hold("I17", (drawn.reason == "STALE") == (deaf and alone), self.name, deaf, alone, drawn)
        if drawn.variant == table.control and drawn.reason != "SPLIT":
            hold("I23", drawn.propensity == 1.0, drawn)
            return 0.0, 0.0
        weights = weights_of(table)
        hold("I17", weights.get(drawn.variant, 0) > 0, self.name, drawn, weights)
        hold("I17", drawn.variant not in withheld, self.name, drawn, withheld)
        cut = set(self.tables.in_force[EXPERIMENT].cut)
        left = sum(share for name, share in weights.items() if name not in withheld | cut)
        share = weights[drawn.variant] / left
        hold("I23", drawn.propensity == share, self.name, drawn, share)
        control = weights.get(table.control, 0) / left
        return (drawn.variant == table.control) - control, control * (1 - control)

    def fail(self, experiment: str, variant: str, control: str) -> None:
        """A candidate's model raises again and again here."""
        for _ in range(6):
            if self.breaker.record(experiment, variant, control, True, self.now_ms() / 1_000):
                self.link.cut(experiment)

    def assign(self, experiment: str, unit: str, request_id: str) -> Assignment:
        """The real draw; the keeper's thread has run since anything arrived."""
        self.link.linked_at = max(self.link.linked_at, self.reporter.acknowledged_at)
        return Client.assign(
            self.client, experiment, unit, request_id=request_id, default="champion"
        )


class _Bell:
    """Stands in for an event that nobody waits for."""

    def set(self) -> None:
        """Nothing to wake."""
