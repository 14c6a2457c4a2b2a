"""A decider with everything around it that a test needs: orders, ticks, batches, what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidegate.schemas import codec
from tidegate.schemas.context import Context
from tidegate.schemas.events import Applied, Command, Control, DeadLetter, Decision, Routing
from tidegate.schemas.facts import (
    COLUMNS,
    ObservationBatch,
    columns_to_table,
    empty_table,
    encode_observation,
)
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.schemas.marks import Marker
from tidegate.streams.deciding.decider import APPLIED, CONTROL, OBSERVATIONS, Decider
from tidegate.streams.merge import Run
from tidegate.streams.output import Output

START_MS = 1_700_000_000_000
NAME = "ranker"
ENGINE = "test-engine"

METRICS: dict[str, Any] = {
    "conversion": {
        "type": "binary",
        "aggregate": "first",
        "window": "30s",
        "default": 0.0,
        "goal": "increase",
    },
    "errors": {"field": "status", "type": "rate", "goal": "decrease"},
    "latency": {"field": "latency_ms", "type": "quantile", "quantile": 0.99, "goal": "decrease"},
}
ERRORS: dict[str, Any] = {
    "metric": "errors",
    "compare": "control",
    "worse_by": "1pp",
    "min_samples": 200,
    "on_breach": "rollback",
}
CANARY: dict[str, Any] = {"weights": ["10%", "30%"], "hold": "60s", "min_samples": 100}
BANDIT: dict[str, Any] = {
    "floor": "5%",
    "every": "1s",
    "until": {"p_best": "95%"},
    "max_duration": "1h",
    "min_samples": 100,
}


def spec_of(
    *release: Mapping[str, Any], candidates: Sequence[str] = ("challenger",), **changes: Any
) -> ExperimentSpec:
    """A spec as a manifest would give it; without steps it is a flag."""
    document: dict[str, Any] = {
        "unit": {"key": "user"},
        "control": "champion",
        "variants": {
            name: {"model": "ranker", "version": f"v{number}"}
            for number, name in enumerate(["champion", *candidates], start=1)
        },
        "metrics": METRICS,
        "objective": "conversion",
        "guardrails": [ERRORS],
        "release": list(release),
    }
    document.update(changes)
    if not document["release"]:
        document.setdefault("flag", {})
    return ExperimentSpec.model_validate(document)


@dataclass
class Group:
    """So many alike requests of one variant, as facts."""

    variant: str
    requests: int
    errors: int = 0
    converted: int = 0
    closed: bool = False
    reason: str = "SPLIT"
    version: int | None = None
    generation: int = 1
    experiment: str = NAME
    latency_ms: float = 20.0
    propensity: float = 0.5
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass
class World:
    """One decider of a partition, fed as the fold would feed it."""

    partitions: int = 1
    beat_ms: int = 1_000
    decider: Decider = field(init=False)
    outputs: list[Output] = field(default_factory=list)
    log_time_ms: int = START_MS
    offsets: list[int] = field(default_factory=lambda: [0, 0, 0])
    producer_ahead_ms: int = 0
    sequences: dict[int, int] = field(default_factory=dict)
    orders: int = 0

    def __post_init__(self) -> None:
        self.decider = self.fresh()
        self.decider.advance(self.log_time_ms)

    def fresh(self) -> Decider:
        """A decider without state that writes to the same outputs."""
        return Decider(0, self.partitions, 1, self.outputs.append, ENGINE)

    # -- in

    def tick(self, span_ms: int) -> None:
        """Log time moves on, tick by tick."""
        until_ms = self.log_time_ms + span_ms
        while self.log_time_ms < until_ms:
            self.log_time_ms = min(self.log_time_ms + self.beat_ms, until_ms)
            self.decider.advance(self.log_time_ms)

    def send(self, rank: int, value: bytes | None) -> None:
        """A record of a merged topic."""
        offset = self.offsets[rank]
        self.offsets[rank] += 1
        self.decider.records(
            Run(rank, self.log_time_ms, offset, [value], 0, 1, lambda index: self.stamped())
        )

    def stamped(self) -> int:
        """Kafka timestamp of what is sent, ms."""
        return self.log_time_ms + self.producer_ahead_ms

    def mark(self, kind: str, **arguments: str) -> None:
        """A marker among the observations."""
        self.decider.marker(OBSERVATIONS, self.offsets[OBSERVATIONS], Marker(kind, arguments))
        self.offsets[OBSERVATIONS] += 1

    def order(self, action: str, spec: ExperimentSpec | str | None = None, **changes: Any) -> str:
        """A person's order; returns its id."""
        self.orders += 1
        fields: dict[str, Any] = {
            "control_id": f"c{self.orders}",
            "experiment": NAME,
            "action": action,
            "actor": "ann",
            "role": "owner",
            "reason": "because",
            "issued_at": self.log_time_ms,
            "spec": spec.to_json() if isinstance(spec, ExperimentSpec) else spec,
        }
        fields.update(changes)
        self.send(CONTROL, codec.encode(Control(**fields)))
        return str(fields["control_id"])

    def apply(self, *release: Mapping[str, Any], **changes: Any) -> ExperimentSpec:
        """The experiment's first manifest."""
        spec = spec_of(*release, **changes)
        self.order("APPLY", spec)
        return spec

    def applied(self, client: str, kind: str = "CHANGE", **changes: Any) -> None:
        """A client's word."""
        fields: dict[str, Any] = {
            "client_id": client,
            "instance": "host",
            "experiment": NAME,
            "epoch": 0,
            "version": 0,
            "generation": 1,
            "applied_at": self.log_time_ms,
            "kind": kind,
        }
        fields.update(changes)
        self.send(APPLIED, codec.encode(Applied(**fields)))

    def batch(self, *groups: Group, source: int = 0, at_ms: int | None = None) -> bytes:
        """The next batch of a source partition, without sending it."""
        sequence = self.sequences.get(source, 0)
        self.sequences[source] = sequence + 1
        # As clients do it: by the newest table there is, which not every decision makes.
        version = self.state.tables[-1][1] if NAME in self.decider.experiments else 0
        found = batch_of(groups, source, sequence, at_ms or self.log_time_ms, version)
        return encode_observation(found)

    def observe(self, *groups: Group, source: int = 0, at_ms: int | None = None) -> None:
        """The next batch of a source partition arrives."""
        self.send(OBSERVATIONS, self.batch(*groups, source=source, at_ms=at_ms))

    # -- out

    @property
    def state(self) -> Any:
        """The experiment's state."""
        return self.decider.experiments[NAME]

    def decisions(self) -> list[Decision]:
        """All decisions so far."""
        return [codec.decode_as(Decision, value) for value in self.values("decisions")]

    def last(self) -> Decision:
        """The last decision."""
        return self.decisions()[-1]

    def tables(self) -> list[Routing]:
        """All routing tables so far."""
        return [codec.decode_as(Routing, value) for value in self.values("routing")]

    def own_orders(self) -> list[Control]:
        """What the decider wrote on `control`."""
        return [codec.decode_as(Control, value) for value in self.values("control")]

    def commands(self, kind: str) -> list[Command]:
        """All commands of a kind."""
        found = (codec.decode_as(Command, value) for value in self.values("commands"))
        return [command for command in found if command.kind == kind]

    def dead_letters(self) -> list[DeadLetter]:
        """All dead letters."""
        return [codec.decode_as(DeadLetter, value) for value in self.values("dead-letters")]

    def view(self) -> dict[str, Any]:
        """The last published view."""
        pieces = self.commands("STATUS")[-1].arguments
        text = "".join(pieces[f"view.{number}"] for number in range(len(pieces)))
        found: dict[str, Any] = json.loads(text)
        return found

    def actions(self) -> list[str]:
        """Actions of all decisions."""
        return [decision.action for decision in self.decisions()]

    def values(self, topic: str) -> list[bytes]:
        """Values written to a topic, tombstones left out."""
        return [item.value for item in self.outputs if item.topic == topic and item.value]


def batch_of(
    groups: Sequence[Group], source: int, sequence: int, at_ms: int, version: int
) -> ObservationBatch:
    """A batch of the facts of some groups of requests."""
    contexts = tuple(
        Context(
            group.experiment,
            group.generation,
            group.variant,
            group.variant,
            "ranker",
            "v1",
            0,
            version if group.version is None else group.version,
            group.reason,
        )
        for group in groups
    )
    sets = sorted({(), *(group.attributes for group in groups)})
    tables = {kind: empty_table(kind) for kind in COLUMNS}
    tables["exposure"] = _requests("exposure", groups, closed=False, at_ms=at_ms)
    tables["closed"] = _requests("closed", groups, closed=True, at_ms=at_ms)
    tables["closed_metric"] = _conversions(groups)
    return ObservationBatch(
        source,
        0,
        sequence,
        "joiner-engine",
        at_ms,
        (0, 0, 0),
        contexts,
        sets,
        ("conversion",),
        tables,
    )


def _requests(kind: str, groups: Sequence[Group], closed: bool, at_ms: int) -> Any:
    chosen = [(place, group) for place, group in enumerate(groups) if group.closed == closed]
    sizes = [group.requests for _, group in chosen]
    sets = sorted({(), *(group.attributes for group in groups)})
    number = sum(sizes)

    def spread(values: Sequence[float]) -> Any:
        return np.repeat(np.array(values, dtype=np.float64), sizes)

    status = np.concatenate(
        [np.r_[np.full(g.errors, 2), np.zeros(g.requests - g.errors)] for _, g in chosen]
        or [np.zeros(0)]
    )
    columns: dict[str, Any] = {
        "request": np.arange(number),
        "unit": np.arange(number),
        "context": spread([place for place, _ in chosen]),
        "attributes": spread([sets.index(g.attributes) for _, g in chosen]),
        "served_at": np.full(number, at_ms),
        "propensity": spread([g.propensity for _, g in chosen]),
        "score": np.full(number, np.nan),
        "latency": spread([g.latency_ms for _, g in chosen]),
        "status": status,
        "weight": np.ones(number),
    }
    return columns_to_table(kind, columns)


def _conversions(groups: Sequence[Group]) -> Any:
    rows: list[int] = []
    start = 0
    for group in groups:
        if group.closed:
            rows += range(start, start + group.converted)
            start += group.requests
    one = np.ones(len(rows))
    columns: dict[str, Any] = {
        "row": rows,
        "metric": np.zeros(len(rows)),
        "count": one,
        "first": one,
        "last": one,
        "sum": one,
        "min": one,
        "max": one,
    }
    return columns_to_table("closed_metric", columns)
