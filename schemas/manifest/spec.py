"""What an experiment is: the `spec` of a manifest as typed, frozen values.

Field names carry units (`hold_ms`, `weight_bp`); their aliases are the words of the manifest
(`hold: 1h`, `weight: 5%`). A manifest is read by alias with notations (`read_spec`), the wire
form, canonical JSON with every default written out, by name with plain numbers
(`ExperimentSpec.from_json`): a default that changes later cannot change what was decided.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Strict, ValidationError, model_validator

from tidegate.schemas.canonical import canonical_json, sha256_hex
from tidegate.schemas.errors import EventError
from tidegate.schemas.manifest.types import (
    Count,
    DurationMs,
    Model,
    Name,
    Probability,
    ShareBp,
    Text,
    WrittenCondition,
    WrittenMargin,
    WrittenQuantity,
)


class Unit(Model):
    """What is randomised; a unit keeps its variant."""

    key: Text
    fallback: Text | None = None


class VariantSpec(Model):
    """One arm: which version of which model answers."""

    model: Text
    version: Text
    artifact: Text | None = None


class Metric(Model):
    """A metric of outcomes (`window` given) or of the predictions themselves (`field` given).

    `field` is `status` (share of requests not OK), `latency_ms`, `score` or `measures.NAME`.
    For outcomes, `default` is the value of a request to which nothing came in the window; without
    it such requests are left out.
    """

    type: Literal["binary", "value", "quantile", "rate", "mean"]
    goal: Literal["increase", "decrease"]
    field: Annotated[
        str | None, Field(pattern=r"^(status|latency_ms|score|measures\.[A-Za-z0-9._-]+)$")
    ] = None
    aggregate: Literal["first", "last", "sum", "min", "max", "count", "mean"] | None = None
    window_ms: Annotated[DurationMs | None, Field(alias="window")] = None
    default: float | None = None
    range: Annotated[tuple[float, float] | None, Strict(False)] = None
    quantile: Annotated[float | None, Field(gt=0, lt=1)] = None


class Guardrail(Model):
    """What must not happen to a candidate, and what is done when it does.

    Either `compare: control` with `worse_by`, or a bound `max` or `min`. Nothing is concluded
    below `min_samples` requests of the candidate; `alpha` is the error rate over the whole run.
    """

    metric: Name
    compare: Literal["control"] | None = None
    worse_by: WrittenMargin | None = None
    max: WrittenQuantity | None = None
    min: WrittenQuantity | None = None
    min_samples: Count
    alpha: Probability = 0.05
    on_breach: Literal["rollback", "pause", "step_back"]


class ShadowUntil(Model):
    """When the shadow step may end: after so many compared requests."""

    requests: Count


class ShadowRequire(Model):
    """What must hold then: share of compared requests whose answers disagree."""

    disagreement: WrittenCondition


class Shadow(Model):
    """Candidates answer a sample of control's requests without being shown.

    Answers are compared by label; without labels by score, equal up to `score_tolerance`.
    """

    sample_bp: Annotated[ShareBp, Field(alias="sample", gt=0)] = 10_000
    until: ShadowUntil
    require: ShadowRequire | None = None
    score_tolerance: Annotated[float, Field(ge=0)] = 0.0


class Canary(Model):
    """Candidates together get a small share, `weight`, or one after another of `weights`.

    Each share is held `hold_ms` of watermarked time and until every candidate has
    `min_samples` requests at it; a breach or a person ends it earlier.
    """

    weight_bp: Annotated[ShareBp | None, Field(alias="weight", gt=0)] = None
    weights_bp: Annotated[
        tuple[Annotated[ShareBp, Field(gt=0)], ...] | None,
        Strict(False),
        Field(alias="weights", min_length=1),
    ] = None
    hold_ms: Annotated[DurationMs, Field(alias="hold")]
    min_samples: Count = 1

    @property
    def shares_bp(self) -> tuple[int, ...]:
        """Shares of the candidates together, in order, basis points."""
        if self.weights_bp is not None:
            return self.weights_bp
        return () if self.weight_bp is None else (self.weight_bp,)


class BanditUntil(Model):
    """When the bandit may end: one variant is the best with this probability."""

    p_best: Probability


class Bandit(Model):
    """Weights follow the evidence on the objective, every `every_ms` of watermarked time.

    No variant falls below `floor_bp`; weights move only when one changes by `min_change_bp`, and
    not before every variant has `min_samples` closed requests.
    """

    policy: Literal["thompson"] = "thompson"
    floor_bp: Annotated[ShareBp, Field(alias="floor", gt=0)] = 500
    every_ms: Annotated[DurationMs, Field(alias="every", ge=1_000)]
    min_change_bp: Annotated[ShareBp, Field(alias="min_change")] = 100
    min_samples: Count = 100
    until: BanditUntil
    max_duration_ms: Annotated[DurationMs, Field(alias="max_duration", gt=0)]


class Full(Model):
    """The winner gets everything; the others are kept loaded for a while."""

    keep_previous_ms: Annotated[DurationMs, Field(alias="keep_previous")] = 86_400_000


class Step(Model):
    """One release step: exactly one strategy with its settings."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    shadow: Shadow | None = None
    canary: Canary | None = None
    bandit: Bandit | None = None
    full: Full | None = None

    @model_validator(mode="after")
    def _has_one_strategy(self) -> Step:
        if len(self.model_fields_set) != 1:
            raise ValueError("a step has exactly one strategy; write one step per list item")
        return self

    @property
    def strategy(self) -> str:
        """Name of the one strategy."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def settings(self) -> Shadow | Canary | Bandit | Full:
        """Settings of the one strategy."""
        chosen = self.shadow or self.canary or self.bandit or self.full
        if chosen is None:
            raise ValueError("a step has one strategy")
        return chosen


class Flag(Model):
    """An experiment that only people move: the shares it starts with; default all to control."""

    weights_bp: Annotated[dict[Name, ShareBp], Field(alias="weights", default_factory=dict)]


class ExperimentSpec(Model):
    """Everything the decider needs to know about an experiment.

    `inclusion_bp` is the share of the population that takes part. `salt` is hashed with the unit;
    it changes only on request, and is the experiment's name when not given.
    """

    unit: Unit
    control: Name
    variants: Annotated[dict[Name, VariantSpec], Field(min_length=1)]
    metrics: Annotated[dict[Name, Metric], Field(default_factory=dict)]
    objective: Name | None = None
    guardrails: Annotated[tuple[Guardrail, ...], Strict(False)] = ()
    release: Annotated[tuple[Step, ...], Strict(False)] = ()
    flag: Flag | None = None
    inclusion_bp: Annotated[ShareBp, Field(alias="inclusion")] = 10_000
    salt: Text | None = None

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Variants other than control, sorted by name."""
        return tuple(sorted(name for name in self.variants if name != self.control))

    @property
    def reward_wait_ms(self) -> int:
        """How long outcomes are waited for: the window all outcome metrics share, or 1 s."""
        return max((metric.window_ms or 0 for metric in self.metrics.values()), default=0) or 1_000

    def to_json(self) -> str:
        """The wire form: canonical JSON, every default written out."""
        return canonical_json(self.model_dump(mode="json", by_alias=False, exclude_none=True))

    def digest(self) -> str:
        """SHA-256 of the wire form, hex: what `Control.parent` names."""
        return sha256_hex(self.to_json())

    @classmethod
    def from_json(cls, text: str) -> ExperimentSpec:
        """The spec in a Control record.

        Raises:
            EventError: `value`, when the text is not the wire form or breaks a rule.
        """
        from tidegate.schemas.manifest.rules import broken_rules

        try:
            spec = cls.model_validate_json(text, by_alias=False, by_name=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise EventError("value", f"spec.{place}: {first['msg']}") from error
        faults = broken_rules(spec)
        if faults:
            raise EventError("value", faults[0].text())
        return spec
