"""What shall be decided: the value between judging (pure) and evolving a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.rollout import Signal
from tidegate.streams.strategies.base import Shares, Verdict
from tidegate.streams.strategies.instances import Instruction


class Action(StrEnum):
    """What a decision did; published as `Decision.action`."""

    APPLY = "APPLY"
    SET = "SET"
    ADVANCE = "ADVANCE"
    UPDATE = "UPDATE"
    PROMOTE = "PROMOTE"
    ROLLBACK = "ROLLBACK"
    STEP_BACK = "STEP_BACK"
    CLOSE_RING = "CLOSE_RING"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    ABORT = "ABORT"
    RETRY = "RETRY"
    APPROVE = "APPROVE"
    FINISH = "FINISH"
    HOLD = "HOLD"
    DEPLOY = "DEPLOY"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A decision before it has a number.

    `signal` moves the phase; None leaves everything as it is (REFUSED, HOLD, a repetition).
    `step`, `increment`, `winner` and `shares` are what holds afterwards; None leaves them.
    `roll_back` names the variant whose share is withdrawn for the rest of the generation,
    `close_ring` the ring that goes back to control for as long.
    `spec` is given by APPLY; `new_generation` starts its statistics anew. `automatic` says that
    no person asked for it. `republish` asks for a table although no share changes, so that what
    follows can be told from what was before. `judged_anew` names (guardrail, candidate) pairs
    whose evidence counts from this decision on. `held` marks what a HOLD has said, so that it is
    said once; `told` does so for a breach that only tells. `alert` is the subject of an ALERT that
    says the same. `approval` is a person, with a role, whose approval of the step is noted.
    `waits` begins the first step of a release that has a start to wait for.
    `commands` are given to instances instead of those before, and `memo` is kept for the step's
    strategy; without a memo both stay.
    """

    action: Action
    reason: str
    signal: Signal | None = None
    verdict: Verdict = Verdict.NONE
    variant: str = ""
    step: int | None = None
    increment: int | None = None
    winner: str | None = None
    shares: Shares | None = None
    roll_back: str = ""
    close_ring: str = ""
    spec: ExperimentSpec | None = None
    new_generation: bool = False
    automatic: bool = False
    republish: bool = False
    judged_anew: tuple[tuple[int, str], ...] = ()
    held: str | None = None
    approval: tuple[str, str] | None = None
    waits: bool = False
    told: str = ""
    alert: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    commands: tuple[Instruction, ...] = ()
    memo: Mapping[str, Any] | None = None


AWAITED = "person"
"""`held` of a step that waits for a person to pass it."""


def refused(reason: str) -> Proposal:
    """A command without effect, and why."""
    return Proposal(Action.REFUSED, reason)
