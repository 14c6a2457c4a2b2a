"""From a wish to a proposal: what a step, a promotion or a rollback means for the shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.streams.deciding.experiment import (
    ExperimentState,
    all_to,
    shares_at,
    strategy_at,
)
from tidegate.streams.deciding.proposals import Action, Proposal, refused
from tidegate.streams.rollout import Phase, Signal
from tidegate.streams.strategies.base import Shares, Verdict
from tidegate.streams.wording import listing


def with_weights(state: ExperimentState, weights: Mapping[str, int]) -> Shares:
    """Other weights, the same shadow."""
    return Shares(dict(weights), dict(state.shadow))


def next_increment(state: ExperimentState, reason: str, evidence: Mapping[str, Any]) -> Proposal:
    """The next share of the running step."""
    increment = state.increment + 1
    shares = shares_at(state.spec, state.candidates, state.winner, state.step, increment)
    return Proposal(
        Action.ADVANCE, reason, Signal.ADVANCE, Verdict.PASS, increment=increment, shares=shares,
        automatic=True, evidence=evidence,
    )  # fmt: skip


def next_step(
    state: ExperimentState, reason: str, verdict: Verdict = Verdict.NONE, winner: str = "",
    automatic: bool = False, evidence: Mapping[str, Any] | None = None,
) -> Proposal:
    """The step after the running one: a promotion when it is `full`, the end when there is none."""
    step = state.step + 1
    found: dict[str, Any] = dict(evidence or {})
    if step >= len(state.spec.release):
        if not automatic:
            return refused("PROMOTE refused: no step follows; name full to promote a variant")
        return finish(state, reason, verdict, winner, found)
    chosen = winner or state.winner
    if strategy_at(state.spec, step).name == "full":
        left = state.candidates
        chosen = chosen or (left[0] if len(left) == 1 else "")
        if not chosen and not automatic:
            return refused(f"PROMOTE refused: name the variant; candidates: {listing(left)}")
        if not chosen:
            return stop(state, f"{reason}; a person must name one of {listing(left)}", verdict)
        return promote(state, chosen, reason, verdict, automatic, found)
    return Proposal(
        Action.ADVANCE, reason, Signal.ADVANCE, verdict, variant=chosen, step=step, increment=0,
        winner=chosen, automatic=automatic, evidence=found,
        shares=shares_at(state.spec, state.candidates, chosen, step, 0),
    )  # fmt: skip


def promote(
    state: ExperimentState, variant: str, reason: str, verdict: Verdict = Verdict.NONE,
    automatic: bool = False, evidence: Mapping[str, Any] | None = None,
) -> Proposal:
    """Everything to `variant`: at the release's `full` step, or as its end when it has none."""
    last = len(state.spec.release) - 1
    is_full = last >= 0 and strategy_at(state.spec, last).name == "full"
    signal = Signal.PROMOTE if is_full else Signal.FINISH
    return Proposal(
        Action.PROMOTE, reason, signal, verdict, variant=variant, step=last, increment=0,
        winner=variant, shares=all_to(variant), automatic=automatic, evidence=dict(evidence or {}),
    )  # fmt: skip


def finish(
    state: ExperimentState, reason: str, verdict: Verdict, winner: str,
    evidence: Mapping[str, Any],
) -> Proposal:
    """The release has ended: control serves when it won, else the shares stay as they are."""
    shares = all_to(winner) if winner == state.control else None
    return Proposal(
        Action.FINISH, reason, Signal.FINISH, verdict, variant=winner or state.winner,
        winner=winner or None, shares=shares, automatic=True, evidence=dict(evidence),
    )  # fmt: skip


def stop(
    state: ExperimentState, reason: str, verdict: Verdict, variant: str = "",
    evidence: Mapping[str, Any] | None = None,
) -> Proposal:
    """The release pauses by itself: a person decides."""
    return Proposal(
        Action.PAUSE, reason, Signal.PAUSE, verdict, variant=variant, automatic=True,
        evidence=dict(evidence or {}),
    )  # fmt: skip


def roll_back(
    state: ExperimentState, variant: str, reason: str, heir: str = "",
    verdict: Verdict = Verdict.NONE, automatic: bool = False,
    evidence: Mapping[str, Any] | None = None,
) -> Proposal:
    """`variant` to 0 for the rest of the generation, its share to `heir`, by default control."""
    left = [name for name in state.candidates if name != variant]
    weights = dict(state.weights)
    share = weights.get(variant, 0)
    weights[variant] = 0
    weights[heir or state.control] += share
    shadow = {name: sampled for name, sampled in state.shadow.items() if name != variant}
    signal = Signal.DROP if left else Signal.ROLL_BACK
    lost_winner = state.phase in (Phase.PROMOTED, Phase.COMPLETED) and variant == state.winner
    if lost_winner:
        # What served everybody is gone: the release is over, whoever else stood by at 0.
        signal = Signal.ROLL_BACK
    return Proposal(
        Action.ROLLBACK, reason, signal, verdict, variant=variant, roll_back=variant,
        winner="" if variant == state.winner else None, shares=Shares(weights, shadow),
        automatic=automatic, evidence=dict(evidence or {}),
    )  # fmt: skip


def step_back(
    state: ExperimentState, variant: str, reason: str, judged_anew: tuple[tuple[int, str], ...],
    evidence: Mapping[str, Any],
) -> Proposal:
    """One increment back, judged anew from there; a rollback when there is nothing below."""
    place = _below(state)
    if place is None:
        return roll_back(
            state, variant, reason, verdict=Verdict.FAIL, automatic=True, evidence=evidence
        )
    step, increment = place
    return Proposal(
        Action.STEP_BACK, reason, Signal.STEP_BACK, Verdict.FAIL, variant=variant, step=step,
        increment=increment, automatic=True, judged_anew=judged_anew, evidence=dict(evidence),
        shares=shares_at(state.spec, state.candidates, state.winner, step, increment),
    )  # fmt: skip


def every_guardrail(state: ExperimentState) -> tuple[tuple[int, str], ...]:
    """All pairs of a guardrail and a candidate."""
    return tuple(
        (index, name) for index in range(len(state.spec.guardrails)) for name in state.candidates
    )


def _below(state: ExperimentState) -> tuple[int, int] | None:
    """The canary increment before the running one."""
    if state.phase not in (Phase.RUNNING, Phase.PAUSED):
        return None
    if strategy_at(state.spec, state.step).name == "canary" and state.increment > 0:
        return state.step, state.increment - 1
    if state.step > 0:
        before = state.spec.release[state.step - 1]
        if before.canary is not None:
            return state.step - 1, len(before.canary.shares_bp) - 1
    return None
