"""What a strategy is: which shares a step starts with, and what its evidence says next.

A strategy sees a `Standing` and answers with a `Move` or nothing. It holds no state and knows no
records. Evidence counts by the watermark, so a joiner that is down means waiting. Strategies that
give commands to instances also see those, log time for time-outs, and a note of their own, `memo`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from tidegate.schemas.manifest.spec import VariantSpec
from tidegate.streams.estimation import Arm, Pair, ShadowTally
from tidegate.streams.strategies.instances import (
    FAILED,
    Artifact,
    Instance,
    Instruction,
    artifact_of,
)

ALL_BP = 10_000


class Verdict(StrEnum):
    """What evidence says; published as `Decision.verdict`."""

    NONE = ""
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_DATA = "NO_DATA"


class Kind(StrEnum):
    """What a move does."""

    CHECKED = "checked"  # evidence was looked at, nothing is recorded
    HOLD = "hold"  # recorded once: the step waits, and why
    WEIGH = "weigh"  # other weights in the same step
    INCREMENT = "increment"  # the next share of the same step
    PASS = "pass"  # the step is passed
    STOP = "stop"  # the step cannot be passed; a person decides
    WAIT = "wait"  # the step is there to wait for a person
    FINISH = "finish"  # the release ends here
    DEPLOY = "deploy"  # commands to instances, or what came of them; no share moves
    ROLL_BACK = "roll back"  # the variant `winner` is taken out for the generation


@dataclass(frozen=True, slots=True)
class Move:
    """A strategy's answer. `winner` names the variant that goes on alone, or that it is about.

    `commands` are given to instances, instead of all given before. `memo`, small JSON, is what the
    strategy wants to see again; it is forgotten when a step or an increment of it begins. With
    `needs_data` the move waits until every guardrail has its data; None: as its kind does.
    """

    kind: Kind
    verdict: Verdict = Verdict.NONE
    reason: str = ""
    weights: Mapping[str, int] | None = None
    winner: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    commands: tuple[Instruction, ...] = ()
    memo: Mapping[str, Any] | None = None
    needs_data: bool | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """What a step, or an increment of it, starts with, basis points; weights sum to 10,000.

    `shadow` is the sampled share of requests each candidate answers unseen.
    """

    weights: Mapping[str, int]
    shadow: Mapping[str, int] = field(default_factory=dict)


class Evidence(Protocol):
    """What the statistics tell a strategy."""

    def requests(self, variant: str) -> int:
        """Requests that tables of the running increment routed to a variant."""

    def requests_in(self, ring: str, variant: str) -> int:
        """The same of one ring."""

    def disagreement(self, variant: str) -> tuple[int, int]:
        """Compared requests whose answers disagree, and all compared requests."""

    def shadow(self, variant: str) -> ShadowTally:
        """What a variant answered unseen, beside what was answered."""

    def incomparable(self, variant: str) -> int:
        """Pairs of a request and its shadow of which one side has nothing to compare."""

    def arms(self, variants: Sequence[str]) -> Sequence[Arm]:
        """The objective of each variant."""

    def pairs(self, candidate: str) -> Sequence[Pair]:
        """The objective in control and a candidate, on tables of the running increment."""

    @property
    def goal(self) -> Literal["increase", "decrease"]:
        """Whether the objective shall `increase` or `decrease`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a step stands.

    `settings` is the step's model of `schemas.manifest.spec`. `candidates` are the variants beside
    control that are not rolled back, sorted. `since_ms` is the log time at which the table of this
    increment was published, `checked_ms` the watermark of the last look at the evidence.
    `closed` names the rings that a breach has closed.

    For strategies that command instances: `variants` says what each variant is, `now_ms` is log
    time, `fleet` are the instances heard of, by name, `issued` the ids of the commands in force,
    and `memo` the note of the last move.
    """

    settings: Any
    control: str
    candidates: tuple[str, ...]
    weights: Mapping[str, int]
    increment: int
    since_ms: int
    checked_ms: int
    watermark_ms: int
    evidence: Evidence
    closed: tuple[str, ...] = ()
    variants: Mapping[str, VariantSpec] = field(default_factory=dict)
    now_ms: int = 0
    fleet: tuple[Instance, ...] = ()
    issued: frozenset[str] = frozenset()
    memo: Mapping[str, Any] = field(default_factory=dict)

    @property
    def newcomer(self) -> str:
        """The one variant beside control, rolled back or not."""
        return min(name for name in self.variants if name != self.control)

    def artifact(self, variant: str) -> Artifact:
        """What of a variant runs on instances."""
        return artifact_of(self.variants[variant])

    def failed(self) -> list[Instance]:
        """Instances that say that a command in force failed."""
        return [
            item for item in self.fleet if item.outcome == FAILED and item.answered in self.issued
        ]

    @property
    def held_ms(self) -> int:
        """Watermarked time since the increment's table was published."""
        return max(0, self.watermark_ms - self.since_ms)


@dataclass(frozen=True, slots=True)
class Outlook:
    """For people: how far the step is, and what comes when."""

    progress: str
    following: str


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to release: its settings' model, whether candidates serve, three plain functions.

    `keeps` says that the shares of the step before stay while it runs.
    `start(settings, control, candidates, winner, increment)` gives the shares of an increment, or
    None when those of the step before stay;
    `decide(standing)` the next move, or None while there is nothing to say;
    `outlook(standing)` the same for people.

    One that commands instances has `back(standing)`, the next move on the way back after its
    variant was rolled back or the release aborted, or None. It is asked whenever an instance says
    something new and every second of log time, again and again until it says nothing.

    `forms` are other ways of the same name, by what the step's `form` says.
    """

    name: str
    settings: type[Any]
    serves: bool
    start: Callable[[Any, str, Sequence[str], str, int], Shares | None]
    decide: Callable[[Standing], Move | None]
    outlook: Callable[[Standing], Outlook]
    keeps: bool = False
    back: Callable[[Standing], Move | None] | None = None
    forms: Mapping[str, Strategy] = field(default_factory=dict)

    def as_set(self, settings: Any) -> Strategy:
        """The form of it that a step's settings ask for."""
        return self.forms.get(getattr(settings, "form", ""), self)


def split(share_bp: int, control: str, candidates: Sequence[str]) -> dict[str, int]:
    """`share_bp` in equal parts over the candidates, the rest to control; sums to 10,000.

    What cannot be divided goes to the first names.

    >>> split(1000, "a", ["b", "c", "d"])
    {'a': 9000, 'b': 334, 'c': 333, 'd': 333}
    """
    if not candidates:
        return {control: ALL_BP}
    each, left = divmod(share_bp, len(candidates))
    shares = {name: each + (place < left) for place, name in enumerate(candidates)}
    return {control: ALL_BP - share_bp, **shares}
