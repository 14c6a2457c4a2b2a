"""Kafka is away for a minute: services go on, say that they are stale, and cut what raises."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.faults.rows import Row, quantile
from tests.faults.scene import RECOVERY_SECONDS_MAX, NotRecovered, quick_settings
from tests.faults.stage import Stage
from tests.integration.world import World
from tidegate.agents.client import Client
from tidegate.agents.client.breaker import CONSECUTIVE_ERRORS
from tidegate.agents.client.options import ClientOptions
from tidegate.agents.commands.logs import decisions_newest_first
from tidegate.agents.commands.orders import give_order, new_order
from tidegate.agents.settings import Settings
from tidegate.infra.brokers import LocalBroker
from tidegate.schemas.events import Decision
from tidegate.schemas.manifest import ExperimentSpec

AWAY_SECONDS = 60.0
_BREAKS_SECONDS = 30.0
"""After so long without Kafka the candidate begins to raise."""
_STALE_SECONDS = ClientOptions().fresh_seconds + 2.0
_SERVICES = 2
_REQUEST_SECONDS = 0.01
_NAME = "ranker"
_SPEC = ExperimentSpec.model_validate({
    "unit": {"key": "user"},
    "control": "champion",
    "variants": {name: {"model": "ranker", "version": name} for name in ("champion", "challenger")},
    "metrics": {"errors": {"field": "status", "type": "rate", "goal": "decrease"}},
    "guardrails": [{"metric": "errors", "compare": "control", "worse_by": "1pp",
                    "min_samples": 1_000_000, "on_breach": "rollback"}],
    "on_breaker": "rollback",
    "release": [{"canary": {"weights": ["50%"], "cap": "50%", "hold": "1d"}}],
})  # fmt: skip
"""Its guardrail never has its samples: only what clients say of their own cuts can roll back."""


@dataclass(frozen=True, slots=True)
class Told:
    """One request: when, whether it was answered, by whom, and what the client knew."""

    at: float
    answered: bool
    assigned: str = ""
    served: str = ""
    stale: bool = False
    seconds: float = 0.0


class Service(threading.Thread):
    """A client, a hundred requests a second, and models of which one can be broken."""

    def __init__(self, settings: Settings, folder: Path, number: int) -> None:
        super().__init__(name=f"service-{number}", daemon=True)
        options = ClientOptions(instance=self.name)
        self.client = Client(settings=replace(settings, state_dir=folder), options=options)
        self.told: list[Told] = []
        self.broken = threading.Event()
        self._stopped = threading.Event()
        self._draw = random.Random(number)

    def run(self) -> None:
        """Until finished."""
        while not self._stopped.wait(_REQUEST_SECONDS):
            self.told.append(self._ask())

    def finish(self) -> None:
        """No more requests."""
        self._stopped.set()
        self.join(10)
        self.client.close(1)

    def _ask(self) -> Told:
        began = time.monotonic()
        models = {"champion": lambda features: 0.5, "challenger": self._challenger}
        try:
            found = self.client.predict(_NAME, f"user-{self._draw.random()}", {"x": 1.0}, models)
        except Exception:  # whatever it is, a user has got no answer
            return Told(began, False)
        drawn, seconds = found.assignment, time.monotonic() - began
        return Told(began, True, drawn.variant, found.variant, drawn.stale, seconds)

    def _challenger(self, _features: Any) -> float:
        if self.broken.is_set():
            raise RuntimeError("the model fails")
        return 0.5


def away(stage: Stage, row: Row, times: int) -> None:
    """Real roles, two services, and a broker that dies and is back a minute later.

    A request of the outage is lost when it is not answered, or answered as if all were fresh once
    nobody was heard for long enough; a fact is an answer. A candidate's call beyond those that its
    breaker needs is counted as doubled. Recovery is from the return of the broker until the decider
    has heard of a cut, has rolled back, and all services hold a fresh table that obeys.
    """
    for _ in range(times):
        folder = stage.new_folder(row.name)
        with LocalBroker() as broker:
            settings = quick_settings(broker, folder)
            with World(settings, folder / "processes.log") as world:
                world.start("worker", ("tidegate",))
                services = [
                    Service(settings, folder / f"service-{number}", number)
                    for number in range(_SERVICES)
                ]
                try:
                    _play(row, settings, broker, services)
                finally:
                    for service in services:
                        service.finish()
        row.times += 1


def _play(
    row: Row, settings: Settings, broker: LocalBroker, services: Sequence[Service]
) -> None:
    give_order(
        settings, new_order(_NAME, "APPLY", "", "a test", spec=_SPEC.to_json()),
        RECOVERY_SECONDS_MAX,
    )  # fmt: skip
    for service in services:
        service.start()
    _wait(services, lambda each: any(told.served == "challenger" for told in list(each.told)))
    _wait(services, lambda each: not each.told[-1].stale)
    broker.kill()
    away_at = time.monotonic()
    time.sleep(_BREAKS_SECONDS)
    for service in services:
        service.broken.set()
    broke_at = time.monotonic()
    time.sleep(AWAY_SECONDS - _BREAKS_SECONDS)
    back_at = time.monotonic()
    for service in services:
        _judge(row, [told for told in list(service.told) if away_at <= told.at < back_at],
               away_at, broke_at)  # fmt: skip
    broker.restart()
    returned_at = time.monotonic()
    _wait(services, _obeys)
    row.recoveries.append(time.monotonic() - returned_at)
    (decided, *more) = _rollbacks(settings)
    row.notes.append(f"then: {decided.reason}")
    if more or "has cut challenger" not in decided.reason:
        row.failures.append(f"rolled back {1 + len(more)} times, at last: {decided.reason}")


def _judge(row: Row, told: Sequence[Told], away_at: float, broke_at: float) -> None:
    """What one service did while Kafka was away."""
    answered = [each for each in told if each.answered]
    late = [each for each in answered if each.at >= away_at + _STALE_SECONDS]
    fresh = [each for each in late if not each.stale]
    # One call may be under way while the candidate breaks.
    failed = [each for each in answered if each.at >= broke_at and each.assigned != "champion"]
    row.requests += len(told)
    row.facts += len(answered)
    row.lost += len(told) - len(answered) + len(fresh)
    row.doubled += max(0, len(failed) - CONSECUTIVE_ERRORS - 1)
    if not any(each.served == "challenger" for each in late if each.at < broke_at):
        row.failures.append("the stale table was not served")
    if not failed or not late:
        row.failures.append("nothing failed, or nothing was asked")
        return
    stale_at = next(each.at for each in answered if each.stale) - away_at
    cut = failed[-1].at - broke_at
    slowest = quantile([each.seconds for each in answered], 0.99) * 1_000
    row.notes.append(
        f"stale after {stale_at:.1f} s, cut after {len(failed)} failures in {cut:.2f} s,"
        f" answers within {slowest:.1f} ms (p99)"
    )


def _obeys(service: Service) -> bool:
    found = service.client.routing(_NAME)
    return not found.stale and found.rolled_back == ("challenger",)


def _rollbacks(settings: Settings) -> list[Decision]:
    found = decisions_newest_first(settings, _NAME)
    return [each for each in found if each.action == "ROLLBACK"]


def _wait(services: Sequence[Service], holds: Any) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while not all(holds(service) for service in services):
        if time.monotonic() > deadline:
            raise NotRecovered("the services did not come to serve, or to obey, in time")
        time.sleep(0.1)
