"""The whole loop without a broker: services, joiners, decider, routing and back, seeded.

Logs are lists, folds are the real ones behind the real merge, clients assign with the real
tables. Time is a loop variable. Workers may be down, die, and start again from an old checkpoint:
then they write again what they wrote, as they would on Kafka.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.schemas import codec
from tidegate.schemas.events import (
    Applied,
    Control,
    Decision,
    Event,
    Outcome,
    Prediction,
    Routing,
    ShadowPrediction,
)
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.schemas.marks import Mark, Tick
from tidegate.schemas.partitioner import partition_of
from tidegate.schemas.topics import merged_topics
from tidegate.streams.assignment import Table, assign, prepare
from tidegate.streams.deciding.decider import Decider
from tidegate.streams.folding import PartitionFold
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.merge import Fetched
from tidegate.streams.output import Output

START_MS = 1_700_000_000_000
TICK_MS = 100
PARTITIONS = 2
NAME = "ranker"
JOINING = JoinerSettings(
    observation_partitions=1, early_tolerance_ms=1_000, grace_ms=500, closed_memory_ms=10_000
)


class Log:
    """One topic-partition: marks and values in order."""

    def __init__(self) -> None:
        self.entries: list[Mark | bytes] = []

    def fetch(self, offset: int, limit: int = 10**9) -> Fetched:
        """Records from `offset` on."""
        found = self.entries[offset : offset + limit]
        return Fetched(
            offset,
            [item if isinstance(item, bytes) else None for item in found],
            [(index, item) for index, item in enumerate(found) if not isinstance(item, bytes)],
            lambda index: START_MS,
        )


@dataclass
class Variant:
    """How a variant's model behaves: probability of an error, of an outcome, of another answer."""

    error: float = 0.01
    conversion: float = 0.2
    disagreement: float = 0.0


@dataclass
class Client:
    """A serving process: the newest table, and ROLLBACK obeyed straight from control."""

    name: str
    routing: Routing | None = None
    rolled_back: set[str] = field(default_factory=set)
    table: Table | None = None
    orders_read: int = 0
    tables_read: int = 0

    def read(self, control: Log, tables: list[Routing]) -> bool:
        """Reads what is new; returns whether something changed for the requests it serves."""
        news = [self.see_table(table) for table in tables[self.tables_read :]]
        for item in control.entries[self.orders_read :]:
            if isinstance(item, bytes):
                news.append(self.see_order(codec.decode_as(Control, item)))
        self.tables_read, self.orders_read = len(tables), len(control.entries)
        if any(news) and self.routing is not None:
            self.table = prepare(self.routing, self.rolled_back)
        return any(news)

    def see_table(self, routing: Routing) -> bool:
        """Takes a newer table; returns whether it is one."""
        held = self.routing
        if held is not None and (routing.epoch, routing.version) <= (held.epoch, held.version):
            return False
        if held is None or held.generation != routing.generation:
            self.rolled_back = set()
        self.routing = routing
        self.rolled_back |= set(routing.rolled_back)
        return True

    def see_order(self, order: Control) -> bool:
        """Obeys a ROLLBACK of the running generation; returns whether it is news."""
        held = self.routing
        variant = order.arguments.get("variant", "")
        if order.action != "ROLLBACK" or held is None or variant in self.rolled_back:
            return False
        if order.generation not in (0, held.generation):
            return False
        self.rolled_back.add(variant)
        return True


class Simulation:
    """The loop; `run` moves it on, tick by tick."""

    def __init__(self, seed: int, models: Mapping[str, Variant], rate: int = 40) -> None:
        self.draw = random.Random(seed)
        self.models = models
        self.rate = rate
        self.now_ms = START_MS
        self.logs = {
            (topic.name, partition): Log()
            for role, count in (("joiner", PARTITIONS), ("decider", 1))
            for topic in merged_topics(role)
            for partition in range(count)
        }
        self.outputs: list[Output] = []
        self.observed: list[Output] = []
        self.joiners = [joiner_fold(partition, self._observe) for partition in range(PARTITIONS)]
        self.decider = decider_fold(self._conclude)
        self.checkpoints: list[tuple[list[bytes], bytes]] = []
        self.clients = [Client("a"), Client("b")]
        self.down: set[str] = set()
        self.served: list[tuple[int, str]] = []
        self._outcomes: dict[int, list[Outcome]] = {}
        self._requests = 0
        self._orders = 0
        self._routing: list[Routing] = []
        self._actions: set[str] = set()

    # -- people

    def order(self, action: str, spec: ExperimentSpec | None = None, **changes: Any) -> str:
        """A person's order."""
        self._orders += 1
        fields: dict[str, Any] = {
            "control_id": f"order-{self._orders}",
            "experiment": NAME,
            "action": action,
            "actor": "ann",
            "role": "owner",
            "reason": "because",
            "issued_at": self.now_ms,
            "spec": None if spec is None else spec.to_json(),
        }
        fields.update(changes)
        self.append("control", 0, Control(**fields))
        return f"order-{self._orders}"

    # -- time

    def run(self, span_ms: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Moves on for a span, or until something is so; returns whether it is."""
        for _ in range(0, span_ms, TICK_MS):
            if until():
                return True
            self.now_ms += TICK_MS
            for log in self.logs.values():
                log.entries.append(Tick(self.now_ms))
            self._serve()
            self._clients_read()
            self._work()
        return until()

    def checkpoint(self) -> None:
        """Keeps the state of all folds, as the snapshots topic would."""
        self.checkpoints.append(([fold.dump() for fold in self.joiners], self.decider.dump()))

    def crash(self, role: str) -> None:
        """A worker dies; another goes on from some kept checkpoint."""
        joiners, decider = self.draw.choice(self.checkpoints)
        if role == "decider":
            self.decider = decider_fold(self._conclude)
            self.decider.load(decider)
            return
        partition = self.draw.randrange(PARTITIONS)
        self.joiners[partition] = joiner_fold(partition, self._observe)
        self.joiners[partition].load(joiners[partition])

    # -- what came of it

    def decisions(self) -> list[Decision]:
        """Decisions as a reader sees them: each version once, repetitions dropped."""
        found: dict[str, bytes] = {}
        for item in self.outputs:
            if item.topic == "decisions" and item.value is not None:
                decision = codec.decode_as(Decision, item.value)
                name = decision.control_id if decision.version == 0 else decision.decision_id
                first = found.setdefault(str(name), item.value)
                assert first == item.value, "a repeated decision is the same decision"
        return [codec.decode_as(Decision, value) for value in found.values()]

    def has_decided(self, action: str) -> Callable[[], bool]:
        """Whether a decision of that action was made."""
        return lambda: action in self._actions

    def append(self, topic: str, partition: int, event: Event) -> None:
        """Writes an event."""
        self.logs[topic, partition].entries.append(codec.encode(event))

    # -- the parts

    def _serve(self) -> None:
        for outcome in self._outcomes.pop(self.now_ms, []):
            self.append("outcomes", partition_of(outcome.request_id.encode(), PARTITIONS), outcome)
        for _ in range(self.rate):
            client = self.draw.choice(self.clients)
            if client.table is not None:
                self._answer(client.table)

    def _answer(self, table: Table) -> None:
        self._requests += 1
        request_id, unit = f"r{self._requests}", f"u{self.draw.randrange(5_000)}"
        partition = partition_of(request_id.encode(), PARTITIONS)
        chosen = assign(table, unit, request_id)
        model = self.models[chosen.variant]
        failed = self.draw.random() < model.error
        self.served.append((self.now_ms, chosen.variant))
        label = str(self.draw.random() < 0.5)
        self.append("predictions", partition, Prediction(
            request_id=request_id, unit_id=unit, served_at=self.now_ms,
            propensity=chosen.propensity, score=None, label=label, latency_ms=5.0,
            experiment=NAME, generation=chosen.generation, variant=chosen.variant,
            served_variant=chosen.variant, model="ranker", model_version="v1",
            routing_epoch=chosen.epoch, routing_version=chosen.routing_version,
            reason=chosen.reason, reward_wait_ms=table.routing.reward_wait_ms,
            status="ERROR" if failed else "OK",
        ))  # fmt: skip
        for name in chosen.shadow:
            other = self.draw.random() < self.models[name].disagreement
            self.append("shadow-predictions", partition, ShadowPrediction(
                request_id=request_id, served_at=self.now_ms, experiment=NAME,
                label=f"not {label}" if other else label, latency_ms=5.0,
                generation=chosen.generation, variant=name, model="ranker", model_version="v2",
                status="OK",
            ))  # fmt: skip
        if self.draw.random() < model.conversion:
            at_ms = self.now_ms + TICK_MS * self.draw.randint(0, 9)
            self._outcomes.setdefault(at_ms + TICK_MS, []).append(Outcome(
                request_id=request_id, outcome_id=f"o-{request_id}", value=1.0,
                occurred_at=at_ms, metric="conversion",
            ))  # fmt: skip

    def _clients_read(self) -> None:
        for client in self.clients:
            changed = client.read(self.logs["control", 0], self._routing)
            held = client.routing
            if held is None or not (changed or self.now_ms % 5_000 == 0):
                continue
            self.append("applied", 0, Applied(
                client_id=client.name, instance="host", experiment=NAME if changed else "",
                epoch=held.epoch, version=held.version, generation=held.generation,
                rolled_back=tuple(sorted(client.rolled_back)), applied_at=self.now_ms,
                kind="CHANGE" if changed else "HEARTBEAT",
            ))  # fmt: skip

    def _work(self) -> None:
        if "joiner" not in self.down:
            for partition, fold in enumerate(self.joiners):
                feed(fold, self.logs, "joiner", partition)
        if "decider" not in self.down:
            feed(self.decider, self.logs, "decider", 0)

    def _observe(self, output: Output) -> None:
        assert output.topic == "observations", output
        assert output.value is not None
        self.observed.append(output)
        self.logs["observations", 0].entries.append(output.value)

    def _conclude(self, output: Output) -> None:
        self.outputs.append(output)
        if output.topic == "decisions" and output.value is not None:
            self._actions.add(codec.decode_as(Decision, output.value).action)
        if output.topic == "control" and output.value is not None:
            self.logs["control", 0].entries.append(output.value)
        if output.topic == "routing" and output.value is not None:
            self._routing.append(codec.decode_as(Routing, output.value))


def joiner_fold(partition: int, emit: Callable[[Output], None]) -> PartitionFold:
    """A joiner without state."""
    return PartitionFold(partition, 3, Joiner(partition, JOINING, "engine", emit))


def decider_fold(emit: Callable[[Output], None]) -> PartitionFold:
    """A decider without state."""
    return PartitionFold(0, 3, Decider(0, PARTITIONS, 1, emit, "engine"))


def feed(
    fold: PartitionFold,
    logs: Mapping[tuple[str, int], Log],
    role: str,
    partition: int,
    limit: int = 10**9,
) -> int:
    """Fetches what is new for every topic of a role and drains; returns how much was fetched."""
    fetched = 0
    for topic in merged_topics(role):
        offset = fold.merge.fetch_offsets[topic.rank]
        found = logs[topic.name, partition].fetch(offset, limit)
        if found.values:
            fold.feed(topic.rank, found)
            fetched += len(found.values)
    fold.drain()
    return fetched


def replay(simulation: Simulation, limit: int) -> list[Output]:
    """A fresh decider over the recorded logs, fetched `limit` records at a time."""
    outputs: list[Output] = []
    fold = decider_fold(outputs.append)
    while feed(fold, simulation.logs, "decider", 0, limit):
        pass
    return outputs


def rejoin(simulation: Simulation, partition: int, limit: int) -> list[Output]:
    """A fresh joiner over the recorded logs of a source partition."""
    outputs: list[Output] = []
    fold = joiner_fold(partition, outputs.append)
    while feed(fold, simulation.logs, "joiner", partition, limit):
        pass
    return outputs
