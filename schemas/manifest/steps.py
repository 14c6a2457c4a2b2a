"""Release steps: the settings of each strategy, one model a strategy, and the step that holds one.

Aliases are the words of the manifest, as in `spec`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Strict, model_validator

from tidegate.schemas.manifest.deployments import BlueGreen, Patching, Recreate, Rolling
from tidegate.schemas.manifest.segments import Segment, WrittenSegment
from tidegate.schemas.manifest.types import (
    Count,
    DurationMs,
    Model,
    Name,
    Names,
    Probability,
    ShareBp,
    WrittenCondition,
    WrittenMargin,
)

OnInconclusive = Literal["hold", "fail", "pass"]
CANARY_CAP_BP = 3_500


class ShadowUntil(Model):
    """When the shadow step may end: after so many compared requests."""

    requests: Count


class ShadowRequire(Model):
    """What must hold then, surely; at least one of them.

    `disagreement`: share of compared requests whose answers differ. `errors`: share of shadow
    answers that are not OK. `latency`: how much longer the shadow takes on the same request, mean
    in ms. `score_shift`: how far its scores lie from control's on the same request, mean, either
    way. `squared_error`: how much farther its score lies from what came of the same request later,
    squared, mean; what came is the objective.
    """

    disagreement: WrittenCondition | None = None
    errors: WrittenCondition | None = None
    latency: WrittenCondition | None = None
    score_shift: WrittenCondition | None = None
    squared_error: WrittenCondition | None = None


class Shadow(Model):
    """Candidates answer a sample of control's requests without being shown.

    Answers are compared by label; without labels by score, equal up to `score_tolerance`. Each
    requirement errs with `alpha`. `on_inconclusive` says what becomes of one that is neither surely
    kept nor surely broken after `until`: `hold` compares on, `fail` stops for a person, `pass` goes
    on.
    """

    sample_bp: Annotated[ShareBp, Field(alias="sample", gt=0)] = 10_000
    until: ShadowUntil
    require: ShadowRequire | None = None
    on_inconclusive: OnInconclusive | None = None
    alpha: Probability = 0.05
    score_tolerance: Annotated[float, Field(ge=0)] = 0.0


class Canary(Model):
    """Candidates together get a small share, `weight`, or one after another of `weights`.

    Each share is held `hold_ms` of watermarked time and until every candidate has
    `min_samples` requests at it; a breach or a person ends it earlier. No share is above `cap_bp`.
    A share that cannot be passed after `max_duration_ms` ends as `on_inconclusive` says.

    With `rolling` shares are of the instances: so many get the new version in place of the old.
    """

    weight_bp: Annotated[ShareBp | None, Field(alias="weight", gt=0)] = None
    weights_bp: Annotated[
        tuple[Annotated[ShareBp, Field(gt=0)], ...] | None,
        Strict(False),
        Field(alias="weights", min_length=1),
    ] = None
    hold_ms: Annotated[DurationMs, Field(alias="hold")]
    min_samples: Count = 1
    cap_bp: Annotated[ShareBp, Field(alias="cap", gt=0)] = CANARY_CAP_BP
    max_duration_ms: Annotated[DurationMs | None, Field(alias="max_duration", gt=0)] = None
    on_inconclusive: OnInconclusive | None = None
    rolling: Patching | None = None

    @property
    def form(self) -> Literal["parallel", "rolling"]:
        """What shares are of: requests, or instances."""
        return "parallel" if self.rolling is None else "rolling"

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

    No variant falls below `floor_bp`; weights move only when one changes by `min_change_bp`, none
    by more than `max_change_bp` at a time, and not before every variant has `min_samples` closed
    requests.
    """

    policy: Literal["thompson"] = "thompson"
    floor_bp: Annotated[ShareBp, Field(alias="floor", gt=0)] = 500
    every_ms: Annotated[DurationMs, Field(alias="every", ge=1_000)]
    min_change_bp: Annotated[ShareBp, Field(alias="min_change")] = 100
    max_change_bp: Annotated[ShareBp, Field(alias="max_change", gt=0)] = 10_000
    min_samples: Count = 100
    until: BanditUntil
    max_duration_ms: Annotated[DurationMs, Field(alias="max_duration", gt=0)]


class Ab(Model):
    """A fixed split that is tested once, when the planned number of requests has closed.

    `weights_bp` are the shares of all variants, by default equal. `mde` is the smallest effect on
    the objective that must not be overlooked: with it, `alpha` (two-sided, for all candidates
    together) and `power`, the number of requests follows from the spread that is measured. At the
    latest the test is made after `max_duration_ms`. `on_inconclusive` says what becomes of a test
    that tells nothing apart: `control` keeps control and ends, `pass` goes on to the next step,
    `stop` leaves it to a person.
    """

    weights_bp: Annotated[
        Literal["equal"] | dict[Name, Annotated[ShareBp, Field(gt=0)]], Field(alias="weights")
    ] = "equal"
    alpha: Probability = 0.05
    power: Probability = 0.8
    mde: WrittenMargin
    min_samples: Count = 100
    max_duration_ms: Annotated[DurationMs, Field(alias="max_duration", gt=0)]
    on_inconclusive: Literal["control", "pass", "stop"]


class Pause(Model):
    """Nothing moves: for `duration_ms` of watermarked time, or until a person resumes."""

    duration_ms: Annotated[DurationMs | None, Field(alias="duration", gt=0)] = None


class Approve(Model):
    """Nothing moves until `approvals` different people have approved, in one of the roles `by`."""

    by: Names
    approvals: Annotated[int, Field(ge=1, le=20)] = 1


class Ring(Model):
    """A part of the population, by attributes; without `when`, whoever is in no ring before it."""

    name: Name
    when: WrittenSegment = Segment()


class Rings(Model):
    """Candidates together get `weight_bp` of one ring after another; the rest waits with control.

    Each ring is held `hold_ms` of watermarked time and until every candidate has `min_samples`
    requests in it. A breach takes all back, or with `on_breach: ring` only the ring it was in.
    """

    rings: Annotated[tuple[Ring, ...], Strict(False), Field(min_length=1, max_length=20)]
    weight_bp: Annotated[ShareBp, Field(alias="weight", gt=0)] = 3_500
    hold_ms: Annotated[DurationMs, Field(alias="hold")]
    min_samples: Count = 1
    on_breach: Literal["all", "ring"] = "all"


class Full(Model):
    """The winner gets everything; the others are kept loaded for a while."""

    keep_previous_ms: Annotated[DurationMs, Field(alias="keep_previous")] = 86_400_000


class Flag(Model):
    """An experiment that only people move: the shares it starts with; default all to control."""

    weights_bp: Annotated[dict[Name, ShareBp], Field(alias="weights", default_factory=dict)]


Settings = (
    Shadow
    | Canary
    | Ab
    | Bandit
    | Rings
    | Pause
    | Approve
    | BlueGreen
    | Rolling
    | Recreate
    | Full
)
"""Settings of a strategy that a release can have as a step."""


class Step(Model):
    """One release step: exactly one strategy with its settings."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    shadow: Shadow | None = None
    canary: Canary | None = None
    ab: Ab | None = None
    bandit: Bandit | None = None
    rings: Rings | None = None
    pause: Pause | None = None
    approve: Approve | None = None
    blue_green: BlueGreen | None = None
    rolling: Rolling | None = None
    recreate: Recreate | None = None
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
    def settings(self) -> Settings:
        """Settings of the one strategy."""
        settings: Settings = getattr(self, self.strategy)
        return settings
