"""The threads between a client and Kafka: what is heard goes to the tables, what changed is said.

`assign()` never comes here: it reads two plain attributes, `heard` and `linked_at`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from tidegate.agents.client.breaker import Breaker
from tidegate.agents.client.cache import Cache
from tidegate.agents.client.emitter import Emitter
from tidegate.agents.client.options import ClientOptions
from tidegate.agents.client.reporter import Reporter
from tidegate.agents.client.subscriber import Subscriber
from tidegate.agents.client.tables import InForce, Tables
from tidegate.agents.registry_client import framing
from tidegate.agents.settings import Settings
from tidegate.schemas.events import Command, Control, Routing

_log = logging.getLogger(__name__)

_ROUND_SECONDS = 0.05
_CACHE_SECONDS = 30.0

# librdkafka's objects do not survive a fork, and to destroy one in the child would wait for
# threads that are not there: they are kept here, untouched, until the process ends.
_INHERITED: list[Any] = []


class Link:
    """Owns producers, consumer and threads of one process; also their listener.

    `heard` is when, on the monotonic clock, each decision partition's decider was last heard;
    `linked_at` is when anything last proved that Kafka can be reached.
    """

    def __init__(
        self, settings: Settings, options: ClientOptions, client_id: str, tables: Tables,
        breaker: Breaker,
    ) -> None:
        self._settings = settings
        self._options = options
        self._tables = tables
        self._breaker = breaker
        self.heard: dict[int, float] = {}
        self.linked_at = float("-inf")
        self.log_time_ms = 0
        self._generations: dict[str, int] = {}
        self.on_change: list[Callable[[InForce], None]] = []
        self.on_command: list[Callable[[Command], None]] = []
        self._cache = Cache(settings.state_dir, settings.prefix, settings.bootstrap)
        # Once: what a registry says of a schema never changes, and a fork must not ask again.
        self._schema_ids = framing(settings)
        self._load()
        self._begin(client_id)

    def _begin(self, client_id: str) -> None:
        self.client_id = client_id
        self.events = Emitter(self._settings, {
            "queue.buffering.max.messages": self._options.queue_records,
        }, self._schema_ids)
        self.reporter = Reporter(self._settings, client_id, self._options.instance)
        self.subscriber = Subscriber(self._settings, self)
        self._closing = threading.Event()
        self._waking = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="tidegate-keeper", daemon=True)
        self.subscriber.start()
        self._keeper.start()

    def _load(self) -> None:
        """By what is on disk, however old: its age decides whether it may be served by."""
        heard_at_ms = self._cache.load(self._tables)
        if heard_at_ms is None:
            return
        age = max(0.0, time.time() - heard_at_ms / 1_000)
        self.linked_at = time.monotonic() - age
        self._tables.publish()

    # -- told by the subscriber, on its thread

    def connected(self, decision_partitions: int) -> None:
        """Kafka answered: the first heartbeat goes out at once."""
        self.linked_at = time.monotonic()
        self.reporter.partitions = decision_partitions
        self._waking.set()

    def heard_routing(self, routing: Routing, partition: int) -> None:
        """A table waits until everything was read once."""
        self._tables.take_routing(routing, partition)

    def heard_control(self, control: Control, partition: int, timestamp_ms: int) -> None:
        """A rollback waits until everything was read once; after that for nobody."""
        self._tables.take_control(control, partition, timestamp_ms)

    def heard_command(self, command: Command, partition: int) -> None:
        """Heartbeats make tables fresh; other commands go to whoever asked for them."""
        self.linked_at = time.monotonic()
        if command.kind == "HEARTBEAT":
            self.heard[partition] = self.linked_at
            self.log_time_ms = max(self.log_time_ms, _log_time_of(command))
            return
        for callback in list(self.on_command):
            _tell(callback, command)

    def caught_up(self) -> None:
        """Obey, confirm, tell, then remember: in this order, the users first."""
        changed = self._tables.publish()
        for item in changed:
            self.reporter.change(item)
        for item in changed:
            if self._generations.get(item.experiment) != item.generation:
                self._generations[item.experiment] = item.generation
                self._breaker.forget(item.experiment)
            for callback in list(self.on_change):
                _tell(callback, item)
        if changed:
            self.save()

    # -- told by whoever calls models

    def cut(self, experiment: str) -> None:
        """Withholds what the breaker has cut, and says so."""
        cut = self._breaker.cut(experiment, time.monotonic())
        changed = self._tables.cut(experiment, cut)
        if changed is not None:
            self.reporter.change(changed)

    def save(self) -> None:
        """Writes the cache with the time until which its tables are known to hold."""
        age_ms = min(1_000 * (time.monotonic() - self.linked_at), time.time() * 1_000)
        self._cache.save(self._tables, time.time_ns() // 1_000_000 - int(age_ms))

    # -- the keeper's thread

    def _keep(self) -> None:
        beat_at = saved_at = time.monotonic()
        while not self._closing.is_set():
            woken = self._waking.wait(_ROUND_SECONDS)
            self._waking.clear()
            try:
                now = time.monotonic()
                if woken or now - beat_at >= self._options.heartbeat_seconds:
                    beat_at = now
                    self.reporter.heartbeat(bool(self._breaker.experiments()))
                self.events.poll()
                self.reporter.emitter.poll()
                self.linked_at = max(self.linked_at, self.reporter.acknowledged_at)
                self.reporter.repeat(self._tables.in_force)
                for experiment in self._breaker.experiments():
                    self.cut(experiment)
                if now - saved_at >= _CACHE_SECONDS and self._tables.in_force:
                    saved_at = now
                    self.save()
            except Exception:
                _log.exception("a round of the client's housekeeping failed")

    # -- end, and another beginning

    def close(self, seconds: float) -> int:
        """Says goodbye and sends what is queued; returns how many events were not sent.

        All of it together takes no longer than `seconds`.
        """
        deadline = time.monotonic() + seconds

        def left() -> float:
            return max(0.0, deadline - time.monotonic())

        self._closing.set()
        self._waking.set()
        # Threads that hang on an absent broker must not use up the time of queued events.
        self.subscriber.stop(left() / 4)
        self._keeper.join(left() / 4)
        self.reporter.goodbye()
        if self._tables.in_force:
            self.save()
        unsent = self.events.flush(left())
        self.reporter.emitter.flush(left())
        return unsent

    def restart_after_fork(self, client_id: str, options: ClientOptions) -> None:
        """In the child: new clients of Kafka and new threads, the same tables."""
        _INHERITED.append((self.events, self.reporter, self.subscriber, self._keeper))
        self._tables.renew_lock()
        self._breaker.renew_lock()
        self._options = options
        self._begin(client_id)


def _tell(callback: Callable[[Any], None], what: Any) -> None:
    try:
        callback(what)
    except Exception:
        _log.exception("a callback of the application failed")


def _log_time_of(command: Command) -> int:
    """Log time that a heartbeat tells; 0 when it tells none."""
    told = command.arguments.get("log_time", "")
    return int(told) if told.isdecimal() and len(told) <= 15 else 0
