"""Every record as a frozen value. Field names, order and meaning are those of `avro/*.avsc`.

The numpy form of `Observation` is in `schemas/facts.py`. Everything here is keyword-only, immutable
by convention (maps are not copied) and compares by value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tidegate.schemas.record import Record


class Event(Record):
    """A record that is the value of a topic; `NAME` is that of its schema."""

    __slots__ = ()

    NAME: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateItem(Record):
    """One item of an interleaved list and the variant whose pick it was."""

    item: str
    variant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(Event):
    """One answered request, on topic `predictions`."""

    NAME = "prediction"
    PARTS: ClassVar = {"slate": SlateItem}

    request_id: str
    unit_id: str
    served_at: int
    propensity: float
    score: float | None = None
    label: str | None = None
    latency_ms: float | None = None
    features: Mapping[str, float] | None = None
    measures: Mapping[str, float] | None = None
    attributes: Mapping[str, str] | None = None
    slate: tuple[SlateItem, ...] | None = None
    experiment: str
    generation: int
    variant: str
    served_variant: str
    model: str
    model_version: str
    artifact: str | None = None
    routing_epoch: int
    routing_version: int
    reason: str
    reward_wait_ms: int
    status: str
    sample_weight: float | None = None
    deferred: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPrediction(Event):
    """What a candidate would have answered, on topic `shadow-predictions`."""

    NAME = "shadow-prediction"

    request_id: str
    served_at: int
    score: float | None = None
    label: str | None = None
    latency_ms: float | None = None
    measures: Mapping[str, float] | None = None
    slate: tuple[str, ...] | None = None
    experiment: str
    generation: int
    variant: str
    model: str
    model_version: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Event):
    """What came of a request, on topic `outcomes`."""

    NAME = "outcome"

    request_id: str
    outcome_id: str
    value: float
    occurred_at: int
    metric: str
    source: str | None = None
    kind: str | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Control(Event):
    """A command to an experiment, on topic `control`."""

    NAME = "control"

    control_id: str
    experiment: str
    generation: int = 0
    action: str
    spec: str | None = None
    parent: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    actor: str
    role: str
    reason: str
    issued_at: int
    expires_at: int = 0
    signature: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Record):
    """A variant a routing table may name."""

    name: str
    model: str
    model_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRange(Record):
    """Buckets `start` to `end - 1` belong to `variant`."""

    variant: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing(Event):
    """The table the serving layer obeys, on topic `routing`."""

    NAME = "routing"
    PARTS: ClassVar = {"variants": Variant, "buckets": BucketRange}

    experiment: str
    epoch: int
    version: int
    generation: int
    control: str
    variants: tuple[Variant, ...]
    buckets: tuple[BucketRange, ...]
    inclusion: int
    rolled_back: tuple[str, ...] = ()
    shadow: Mapping[str, int] = field(default_factory=dict)
    rules: str | None = None
    policy: str | None = None
    salt: str
    reward_wait_ms: int
    decision_id: str
    published_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Event):
    """What the decider asks of its surroundings, on topic `commands`."""

    NAME = "command"

    command_id: str
    experiment: str
    generation: int
    kind: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    reason: str
    decision_id: str
    expires_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Event):
    """One step of an experiment with its evidence, on topic `decisions`."""

    NAME = "decision"

    decision_id: str
    control_id: str | None = None
    experiment: str
    epoch: int
    version: int
    generation: int
    decided_at: int
    watermark: int
    step: int
    phase: str
    verdict: str
    action: str
    variant: str
    reason: str
    evidence: str
    weights: Mapping[str, int]
    covers: Mapping[str, int]
    engine: str
    previous: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServer(Record):
    """A model server that an instance runs; `health` is STARTING, OK, DEGRADED, ENDING."""

    model: str
    version: str
    health: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Event):
    """What a serving client runs, or an instance has loaded, on topic `applied`."""

    NAME = "applied"
    PARTS: ClassVar = {"servers": ModelServer}

    client_id: str
    instance: str
    experiment: str
    epoch: int
    version: int
    generation: int
    rolled_back: tuple[str, ...] = ()
    applied_at: int
    models: Mapping[str, str] | None = None
    health: str | None = None
    breaker: tuple[str, ...] | None = None
    kind: str
    servers: tuple[ModelServer, ...] | None = None
    command_id: str | None = None
    outcome: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(Event):
    """A record that could not be counted, on topic `dead-letters`."""

    NAME = "dead-letter"

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    log_time: int
    value: bytes
    engine: str


EVENTS: Mapping[str, type[Event]] = {
    kind.NAME: kind
    for kind in (
        Prediction, ShadowPrediction, Outcome, Control, Routing, Command, Decision, Applied,
        DeadLetter,
    )
}  # fmt: skip
"""Events by schema name."""
