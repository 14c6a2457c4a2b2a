"""What an experiment is: the `spec` of a manifest as typed, frozen values.

Field names carry units (`hold_ms`, `weight_bp`); their aliases are the words of the manifest
(`hold: 1h`, `weight: 5%`). A manifest is read by alias with notations (`read_spec`), the wire
form, canonical JSON with every default written out, by name with plain numbers
(`ExperimentSpec.from_json`): a default that changes later cannot change what was decided.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, Strict, ValidationError

from tidegate.schemas.canonical import canonical_json, sha256_hex
from tidegate.schemas.errors import EventError
from tidegate.schemas.manifest.layer import LayerShare
from tidegate.schemas.manifest.population import Holdout, Overrides, Targeting
from tidegate.schemas.manifest.schedule import Schedule
from tidegate.schemas.manifest.steps import Flag, Ring, Step
from tidegate.schemas.manifest.types import (
    Count,
    DurationMs,
    Model,
    Name,
    Names,
    Probability,
    ShareBp,
    Text,
    WrittenMargin,
    WrittenQuantity,
)

FIELD_PATTERN = r"^(status|latency_ms|score|disagreement|measures\.[A-Za-z0-9._-]+)$"


class Unit(Model):
    """What is randomised, and what is instead where that is unknown; a unit keeps its variant."""

    key: Text
    fallback: Text | None = None


class VariantSpec(Model):
    """One arm: which version of which model answers."""

    model: Text
    version: Text
    artifact: Text | None = None


class Metric(Model):
    """A metric of outcomes (`window` given) or of the predictions themselves (`field` given).

    `field` is `status` (share of requests not OK, or with one of `statuses`), `latency_ms`,
    `score`, `measures.NAME` or `disagreement` (share of compared requests that a candidate's
    shadow answered otherwise).
    For outcomes, `default` is the value of a request to which nothing came in the window; without
    it such requests are left out.
    """

    type: Literal["binary", "value", "quantile", "rate", "mean"]
    goal: Literal["increase", "decrease"]
    field: Annotated[
        str | None, Field(pattern=FIELD_PATTERN)
    ] = None
    statuses: Annotated[
        tuple[Literal["FALLBACK", "ERROR", "TIMEOUT"], ...] | None,
        Strict(False),
        Field(min_length=1),
    ] = None
    aggregate: Literal["first", "last", "sum", "min", "max", "count", "mean"] | None = None
    window_ms: Annotated[DurationMs | None, Field(alias="window")] = None
    default: float | None = None
    range: Annotated[tuple[float, float] | None, Strict(False)] = None
    quantile: Annotated[float | None, Field(gt=0, lt=1)] = None


class Checks(Model):
    """A guardrail that is measured again every `every_ms` of watermarked time, each time anew.

    It is broken by `failures` failed checks in all, or by `consecutive` of them without a passed
    one between; at least one of the two is given.
    """

    every_ms: Annotated[DurationMs, Field(alias="every", ge=1_000)]
    failures: Count | None = None
    consecutive: Count | None = None


class Guardrail(Model):
    """What must not happen to a candidate, and what is done when it does.

    Either `compare: control` with `worse_by`, or a bound `max` or `min`. Nothing is concluded
    below `min_samples` requests of the candidate; `alpha` is the error rate over the whole run,
    or of each of the `checks`. Missing data is waited for, or with `on_no_data: fail` a breach
    after `no_data_after_ms` of watermarked time in which the candidate served.
    """

    metric: Name
    compare: Literal["control"] | None = None
    worse_by: WrittenMargin | None = None
    max: WrittenQuantity | None = None
    min: WrittenQuantity | None = None
    min_samples: Count
    alpha: Probability = 0.05
    on_breach: Literal["rollback", "pause", "step_back", "alert"]
    checks: Checks | None = None
    on_no_data: Literal["wait", "fail"] = "wait"
    no_data_after_ms: Annotated[DurationMs | None, Field(alias="no_data_after", gt=0)] = None


class Rights(Model):
    """In which roles people may promote a variant, and loosen a guardrail; None: in any.

    Everybody may pause, abort and roll back.
    """

    promote: Names | None = None
    loosen: Names | None = None


class ExperimentSpec(Model):
    """Everything the decider needs to know about an experiment.

    `on_breaker` is what is done when a serving client has cut a candidate by its own breaker.
    `inclusion_bp` is the share of the population that takes part. `salt` is hashed with the unit;
    it changes only on request, and is the experiment's name when not given. Who takes part passes
    `targeting`, `holdout` and `inclusion_bp`; `overrides` go before all of them.
    """

    unit: Unit
    control: Name
    variants: Annotated[dict[Name, VariantSpec], Field(min_length=1, max_length=255)]
    metrics: Annotated[dict[Name, Metric], Field(default_factory=dict)]
    objective: Name | None = None
    guardrails: Annotated[tuple[Guardrail, ...], Strict(False)] = ()
    on_breaker: Literal["alert", "pause", "rollback"] = "alert"
    release: Annotated[tuple[Step, ...], Strict(False)] = ()
    flag: Flag | None = None
    rights: Annotated[Rights, Field(default_factory=Rights)]
    inclusion_bp: Annotated[ShareBp, Field(alias="inclusion")] = 10_000
    salt: Text | None = None
    targeting: Targeting | None = None
    holdout: Holdout | None = None
    overrides: Overrides = ()
    schedule: Schedule | None = None
    layer: LayerShare | None = None

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Variants other than control, sorted by name."""
        return tuple(sorted(name for name in self.variants if name != self.control))

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The rings of the release; none without a step of rings."""
        return next((step.rings.rings for step in self.release if step.rings is not None), ())

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

        spec = cls.accepted(text)
        faults = broken_rules(spec)
        if faults:
            raise EventError("value", faults[0].text())
        if spec.layer is not None and not spec.layer.is_allotted:
            raise EventError("value", "spec.layer: no slots are allotted; use tidegate apply")
        if spec.schedule is not None and not spec.schedule.is_resolved:
            raise EventError("value", "spec.schedule: its times are not in UTC; use tidegate apply")
        return spec

    @classmethod
    def accepted(cls, text: str) -> ExperimentSpec:
        """A spec that runs already: rules that a later version adds do not stop it.

        Raises:
            EventError: `value`, when the text is not the wire form.
        """
        try:
            return cls.model_validate_json(text, by_alias=False, by_name=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise EventError("value", f"spec.{place}: {first['msg']}") from error
