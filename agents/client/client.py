"""The serving client: assigns, runs models, emits events, obeys tables and rollbacks."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tidegate.agents.client.breaker import Breaker
from tidegate.agents.client.events import Events
from tidegate.agents.client.link import Link
from tidegate.agents.client.models import Model
from tidegate.agents.client.options import ClientOptions
from tidegate.agents.client.predictor import Answer, Predictor
from tidegate.agents.client.tables import InForce, Tables
from tidegate.agents.settings import Settings, load_settings
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import Applied, Command, Routing
from tidegate.streams.assignment import Assignment, Unit, assign, control_only, without_table

_log = logging.getLogger(__name__)
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class RoutingInForce:
    """What a client obeys for one experiment.

    `age_seconds` is the time since anything proved that it still holds, infinite when nothing ever
    did. `stale`: no decider was heard lately. `expired`: for so long that only control serves.
    """

    routing: Routing | None
    age_seconds: float
    stale: bool
    expired: bool
    rolled_back: tuple[str, ...]
    cut: tuple[str, ...]


class Client:
    """Connects a service to Tidegate; one per process, usable from any thread, fork-safe.

    Creating one does not wait for Kafka. Nothing here raises because of Kafka: what could not be
    sent is counted in `counters()`.

    Args:
        bootstrap: address of Kafka; wins over `settings`.
        settings: shared settings; read from the environment when absent.
        options: how this client behaves.

    Raises:
        DefinitionError: the settings cannot be used.
    """

    def __init__(
        self, bootstrap: str | None = None, settings: Settings | None = None,
        options: ClientOptions | None = None,
    ) -> None:
        shared = load_settings() if settings is None else settings
        self._settings = (
            shared if bootstrap is None else shared.with_bootstrap(bootstrap, "bootstrap=")
        )
        self._options = options or ClientOptions()
        self._is_named = self._options.instance != ClientOptions().instance
        self._tables = Tables()
        self._breaker = Breaker()
        self._counters: Counter[str] = Counter()
        self._closed = False
        self._link = Link(
            self._settings, self._options, _new_id(), self._tables, self._breaker
        )
        self._events = Events(self._link, self._tables, self._options)
        self._predictor = self._new_predictor()
        _clients.add(self)

    @classmethod
    def from_file(cls, path: str | Path, options: ClientOptions | None = None) -> Self:
        """A client by a settings file and `TIDEGATE_*` variables.

        Raises:
            DefinitionError: the file cannot be read or used.
        """
        return cls(settings=load_settings(Path(path)), options=options)

    # -- who answers

    def assign(
        self, experiment: str, unit: Unit, attributes: Mapping[str, str] | None = None,
        features: Any = None, request_id: str | None = None, default: str = "control",
    ) -> Assignment:
        """Draws the variant for a request, here and now; never waits, never raises.

        Args:
            unit: what is randomised: its id, or ids by kind, of which the manifest's `unit` says
                which one counts. A request without unit is its own.
            attributes: what targeting, rings and overrides look at; tell the same ones with the
                prediction.
            features: what contextual policies of later versions look at.
            request_id: a name for the request; made up when absent.
            default: the variant to name while no table is known.
        """
        name = request_id or _new_id()
        try:
            item = self._tables.in_force.get(experiment)
            if item is None or item.table is None:
                return without_table(name, default, unit)
            link, now = self._link, time.monotonic()
            heard = link.heard.get(item.partition, 0.0)
            stale = now - heard > self._options.fresh_seconds or not heard
            if stale and now - link.linked_at > self._options.max_staleness_seconds:
                return control_only(item.table, name, unit=unit)
            return assign(item.table, unit, name, stale, attributes)
        except Exception:
            self._counters["assign_failures"] += 1
            _log.exception("an assignment failed; the default answers")
            return without_table(name, default)

    def predict(
        self, experiment: str, unit: Unit, features: Any, models: Mapping[str, Model],
        attributes: Mapping[str, str] | None = None, timeout_seconds: float | None = None,
        request_id: str | None = None, measures: Mapping[str, float] | None = None,
    ) -> Answer:
        """Answers a request with the assigned model and says so; shadows run afterwards.

        A candidate that raises, takes longer than `timeout_seconds` or has no model here is
        replaced by control, and the failure counted as its own. Without a table the first of
        `models` is control.

        Raises:
            DefinitionError: there is no model for control.
            Exception: whatever control's model raises; there is nothing left to fall back on.
        """
        if not models:
            raise DefinitionError("models is empty; give at least control's: {name: callable}")
        drawn = self.assign(
            experiment, unit, attributes, features, request_id, default=next(iter(models))
        )
        return self._predictor.predict(
            experiment, drawn, features, models, attributes, timeout_seconds, measures
        )

    # -- what happened

    def prediction(self, experiment: str, assignment: Assignment, **said: Any) -> bool:
        """Tells of a request that the service answered itself; see `Events.prediction`."""
        return self._events.prediction(experiment, assignment, **said)

    def shadow_prediction(
        self, experiment: str, assignment: Assignment, variant: str, **said: Any
    ) -> bool:
        """Tells what a variant would have answered; see `Events.shadow_prediction`."""
        return self._events.shadow_prediction(experiment, assignment, variant, **said)

    def outcome(
        self, request_id: str, metric: str, value: float, outcome_id: str | None = None,
        occurred_at: int | None = None, source: str | None = None, position: int | None = None,
    ) -> bool:
        """Tells what came of a request.

        Args:
            outcome_id: names the outcome: told twice, it counts once. Made up when absent, so
                give one wherever a retry is possible.
            occurred_at: when it happened, ms UTC; now when absent.

        Returns:
            Whether it is on its way; if not, `counters()` says why.
        """
        return self._events.outcome(
            request_id, metric, float(value), outcome_id or _new_id(), occurred_at, source, position
        )

    def activate(self, request_id: str) -> bool:
        """Tells that a deferred prediction was really used."""
        return self._events.activate(request_id)

    # -- what is in force

    def routing(self, experiment: str) -> RoutingInForce:
        """The table in force, its age and whether it is stale."""
        item = self._tables.in_force.get(experiment)
        now = time.monotonic()
        age = now - self._link.linked_at
        if item is None:
            return RoutingInForce(None, age, True, True, (), ())
        heard = self._link.heard.get(item.partition, float("-inf"))
        stale = now - heard > self._options.fresh_seconds
        return RoutingInForce(
            None if item.table is None else item.table.routing, age, stale,
            stale and age > self._options.max_staleness_seconds, item.rolled_back, item.cut,
        )

    def set_loaded(
        self, versions: Collection[tuple[str, str]] | None, experiment: str | None = None
    ) -> None:
        """Tells which (model, version) pairs this process can answer with; None: with all.

        Where the table's choice is not among them, one that is loaded answers, with reason
        INSTANCE; where none is, control is named with reason UNLOADED.

        Args:
            experiment: the only one that is meant; all those that are never named when absent.
        """
        self._tables.load(versions, experiment)

    def on_change(self, callback: Callable[[InForce], None]) -> None:
        """Calls back, on a thread of the client, when a table or a rollback was applied."""
        self._link.on_change.append(callback)

    def on_command(self, callback: Callable[[Command], None]) -> None:
        """Calls back, on a thread of the client, for each command of a decider but heartbeats."""
        self._link.on_command.append(callback)

    @property
    def client_id(self) -> str:
        """Names this process on `applied`."""
        return self._link.client_id

    @property
    def instance(self) -> str:
        """What the place it runs in calls itself."""
        return self._options.instance

    @property
    def log_time_ms(self) -> int:
        """The latest log time that a decider told, 0 before."""
        return self._link.log_time_ms

    def emit_applied(self, word: Applied) -> bool:
        """Says something on `applied`, in the partition of its experiment."""
        return self._link.reporter.say(word)

    def wait_ready(self, seconds: float) -> bool:
        """Waits until the tables on Kafka were read once; False when that took longer."""
        return self._link.subscriber.ready.wait(seconds)

    def counters(self) -> dict[str, int]:
        """What was sent, and what was not and why, since the process started."""
        link = self._link
        total: Counter[str] = Counter()
        for part in (
            self._counters, self._tables.counters, link.events.counters,
            link.reporter.emitter.counters, link.subscriber.counters,
        ):
            total.update(part)
        return dict(sorted(total.items()))

    # -- the end

    def close(self, seconds: float = 5.0) -> int:
        """Says goodbye and sends what is queued; returns how many events were not sent.

        Without a broker, what is queued keeps it waiting for all of `seconds`.
        """
        if self._closed:
            return 0
        self._closed = True
        _clients.discard(self)
        self._predictor.close()
        return self._link.close(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _new_predictor(self) -> Predictor:
        return Predictor(
            self._link, self._tables, self._breaker, self._events, self._options, self._counters
        )

    def _restart_after_fork(self) -> None:
        if not self._is_named:  # the default names the process, and this is another one
            self._options = replace(self._options, instance=ClientOptions().instance)
        self._predictor = self._new_predictor()
        self._link.restart_after_fork(_new_id(), self._options)


def _new_id() -> str:
    return os.urandom(16).hex()


def _restart_all() -> None:
    for client in list(_clients):
        client._restart_after_fork()


os.register_at_fork(after_in_child=_restart_all)
