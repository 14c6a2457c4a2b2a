"""People and services around a decider: orders all the time, requests that a guardrail looks at."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tidegate.agents.client import Client
from tidegate.agents.commands.logs import experiment_partition
from tidegate.agents.commands.orders import new_order
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import encode
from tidegate.schemas.events import Control
from tidegate.schemas.manifest import ExperimentSpec

_ORDER_SECONDS = 0.25
_REQUEST_SECONDS = 0.02
_CANARY_EVERY = 40
"""Orders between two generations of a canary: time enough for its guardrail to be breached."""
_CONTROL_CONVERTS = 0.7
_VARIANTS = ("champion", "challenger", "other")
_BASE = {
    "unit": {"key": "user"},
    "control": "champion",
    "variants": {name: {"model": "ranker", "version": name} for name in _VARIANTS},
    "metrics": {
        "conversion": {
            "type": "binary", "aggregate": "first", "window": "2s", "default": 0,
            "goal": "increase",
        }
    },
    "objective": "conversion",
}  # fmt: skip
_GUARDRAIL = {
    "metric": "conversion", "compare": "control", "worse_by": "5pp", "min_samples": 20,
    "on_breach": "rollback",
}  # fmt: skip


def flag() -> ExperimentSpec:
    """An experiment that people move."""
    return ExperimentSpec.model_validate({**_BASE, "flag": {}})


def canary(number: int) -> ExperimentSpec:
    """A release whose candidate never converts, so that its guardrail rolls it back.

    `number` makes one differ from the one before it, and so begin a new generation.
    """
    step = {"canary": {"weights": ["50%"], "cap": "50%", "hold": f"{600 + number}s",
                       "min_samples": 100_000}}  # fmt: skip
    return ExperimentSpec.model_validate(
        {**_BASE, "guardrails": [_GUARDRAIL], "release": [step]}
    )


@dataclass
class _Orders:
    """What is asked of one experiment, order after order."""

    name: str
    draw: random.Random
    force: ExperimentSpec | None = None
    given: list[Control] = field(default_factory=list)

    def apply(self, spec: ExperimentSpec, **arguments: str) -> Control:
        """Start it, or change it."""
        parent = None if self.force is None else self.force.digest()
        self.force = spec
        return self._order("APPLY", arguments, spec.to_json(), parent)

    def flag(self) -> Iterator[Control]:
        """A flag's life again and again: moved, rolled back, what can no longer be; anew."""
        yield self.apply(flag())
        while True:
            for _ in range(6):
                yield self._order("SET", {"challenger": str(self.draw.randrange(5_000))})
            yield self._order("ROLLBACK", {"variant": "challenger"})
            yield self._order("SET", {"other": str(self.draw.randrange(5_000))})
            yield self._order("SET", {"challenger": "5000"})
            yield self.apply(flag(), restart="true")

    def canary(self) -> Iterator[Control]:
        """One generation after another."""
        number = 0
        while True:
            yield self.apply(canary(number))
            number += 1

    def _order(
        self, action: str, arguments: Mapping[str, str], spec: str | None = None,
        parent: str | None = None,
    ) -> Control:  # fmt: skip
        return new_order(self.name, action, "people", "for the test", arguments, spec, parent)


class People(threading.Thread):
    """Give four orders a second: to flags in turn, now and then to canaries."""

    def __init__(self, settings: Settings, seed: int = 1) -> None:
        super().__init__(name="people", daemon=True)
        self._settings = settings
        self._producer = new_producer(settings, {"message.timeout.ms": 0})
        self._stopped = threading.Event()
        draw = random.Random(seed)
        self.flags = _names(settings, "flag")
        self.canaries = _names(settings, "canary")
        self._flags = [_Orders(name, draw).flag() for name in self.flags]
        self._canaries = [_Orders(name, draw).canary() for name in self.canaries]

    def run(self) -> None:
        """Until finished."""
        number = 0
        while not self._stopped.wait(_ORDER_SECONDS):
            self._give(next(self._flags[number % len(self._flags)]))
            if number % _CANARY_EVERY < len(self._canaries):
                self._give(next(self._canaries[number % _CANARY_EVERY]))
            number += 1

    def finish(self) -> None:
        """No more orders; all are in the log."""
        self._stopped.set()
        self.join(10)
        assert self._producer.flush(60) == 0, "the broker did not take the orders"

    def _give(self, order: Control) -> None:
        self._producer.produce(
            self._settings.topic("control"),
            encode(order),
            key=order.experiment.encode(),
            partition=experiment_partition(self._settings, order.experiment),
        )
        self._producer.poll(0)


class Service(threading.Thread):
    """Answers requests with the real client; users of the candidate never convert."""

    def __init__(self, client: Client, experiments: tuple[str, ...]) -> None:
        super().__init__(name="service", daemon=True)
        self._client = client
        self._experiments = experiments
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until finished."""
        draw = random.Random(7)
        models = {name: lambda features: 0.5 for name in _VARIANTS}
        while not self._stopped.wait(_REQUEST_SECONDS):
            name = draw.choice(self._experiments)
            answer = self._client.predict(name, f"user-{draw.randrange(5_000)}", {"x": 1.0}, models)
            converts = answer.variant == "champion" and draw.random() < _CONTROL_CONVERTS
            self._client.outcome(answer.request_id, "conversion", float(converts))

    def finish(self) -> None:
        """No more requests."""
        self._stopped.set()
        self.join(10)


def _names(settings: Settings, kind: str) -> tuple[str, ...]:
    """An experiment of a kind for each home partition."""
    homes: dict[int, str] = {}
    number = 0
    while len(homes) < settings.decision_partitions:
        name = f"{kind}-{number}"
        homes.setdefault(experiment_partition(settings, name), name)
        number += 1
    return tuple(homes[home] for home in sorted(homes))
