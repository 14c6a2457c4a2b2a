"""From a wish to a proposal: what a step, a promotion or a rollback means for the shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate.schemas.manifest.steps import Step
from tidegate.streams.deciding.experiment import (
    ExperimentState,
    all_to,
    shares_at,
    strategy_at,
)
from tidegate.streams.deciding.proposals import AWAITED, Action, Proposal, refused
from tidegate.streams.rollout import Phase, Signal
from tidegate.streams.strategies.base import Shares, Verdict
from tidegate.streams.wording import listing


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why something shall happen; `automatic` when no person asked for it."""

    reason: str
    verdict: Verdict = Verdict.NONE
    evidence: Mapping[str, Any] = field(default_factory=dict)
    automatic: bool = False

    def proposal(self, action: Action, signal: Signal | None, **after: Any) -> Proposal:
        """A proposal on these grounds."""
        return Proposal(
            action,
            self.reason,
            signal,
            verdict=self.verdict,
            evidence=self.evidence,
            automatic=self.automatic,
            **after,
        )


def with_weights(state: ExperimentState, weights: Mapping[str, int]) -> Shares:
    """Other weights, the same shadow."""
    return Shares(dict(weights), dict(state.shadow))


def next_increment(state: ExperimentState, grounds: Grounds) -> Proposal:
    """The next share of the running step."""
    increment = state.increment + 1
    shares = shares_at(state.spec, state.candidates, state.winner, state.step, increment)
    return grounds.proposal(Action.ADVANCE, Signal.ADVANCE, increment=increment, shares=shares)


def next_step(state: ExperimentState, grounds: Grounds, winner: str = "") -> Proposal:
    """The step after the running one: a promotion when it is `full`, the end when there is none."""
    step = state.step + 1
    if step >= len(state.spec.release):
        if grounds.automatic:
            return finish(state, grounds, winner)
        return refused("PROMOTE refused: no step follows; promote a variant instead")
    chosen = winner or state.winner
    following = strategy_at(state.spec, step)
    if following.name == "full":
        return _promote_winner(state, chosen, grounds)
    if following.back is not None and state.closed:
        # Manifests that lead here are refused; one that was amended after a breach may still.
        why = f"{following.name} would give {listing(state.closed)} the new version too"
        return _ask(f"{why}, and a breach closed it to that", grounds)
    return grounds.proposal(
        Action.ADVANCE,
        Signal.ADVANCE,
        variant=chosen,
        step=step,
        increment=0,
        winner=chosen,
        shares=shares_at(state.spec, state.candidates, chosen, step, 0),
    )


def _promote_winner(state: ExperimentState, chosen: str, grounds: Grounds) -> Proposal:
    left = state.candidates
    chosen = chosen or (left[0] if len(left) == 1 else "")
    if chosen:
        return promote(state, chosen, grounds)
    if grounds.automatic:
        return _ask(f"a person must promote one of {listing(left)}", grounds)
    return refused(f"PROMOTE refused: name the variant; candidates: {listing(left)}")


def _ask(why: str, grounds: Grounds) -> Proposal:
    """What evidence alone cannot decide stops for a person, who is refused what cannot be."""
    if not grounds.automatic:
        return refused(f"PROMOTE refused: {why}")
    return stop(replace(grounds, reason=f"{grounds.reason}; {why}"))


def promote(state: ExperimentState, variant: str, grounds: Grounds) -> Proposal:
    """Everything to `variant`: at the release's `full` step, or as its end when it has none."""
    last = len(state.spec.release) - 1
    if last >= 0 and strategy_at(state.spec, last).back is not None:
        name = strategy_at(state.spec, last).name
        return refused(f"PROMOTE refused: {name} must bring {variant} to the instances first")
    is_full = strategy_at(state.spec, last).name == "full"
    signal = Signal.PROMOTE if is_full else Signal.FINISH
    return grounds.proposal(
        Action.PROMOTE,
        signal,
        variant=variant,
        step=last,
        increment=0,
        winner=variant,
        shares=all_to(variant),
    )


def finish(state: ExperimentState, grounds: Grounds, winner: str) -> Proposal:
    """The release has ended: control serves when it won, else the shares stay as they are."""
    shares = all_to(winner) if winner == state.control else None
    return grounds.proposal(
        Action.FINISH,
        Signal.FINISH,
        variant=winner or state.winner,
        winner=winner or None,
        shares=shares,
    )


def stop(grounds: Grounds, variant: str = "") -> Proposal:
    """The release pauses: a person decides."""
    return grounds.proposal(Action.PAUSE, Signal.PAUSE, variant=variant)


def await_person(grounds: Grounds) -> Proposal:
    """The step waits for a person, who passes it."""
    return grounds.proposal(Action.PAUSE, Signal.PAUSE, held=AWAITED)


def roll_back(state: ExperimentState, variant: str, grounds: Grounds, heir: str = "") -> Proposal:
    """`variant` to 0 for the rest of the generation, its share to `heir`, by default control.

    Where the release was decided for one variant, losing it ends the release, whoever else stood
    by: what was tested beside it and lost must not follow it. Only a person can name another.
    """
    was_chosen = variant == state.winner
    takes_over = heir not in ("", state.control)
    if len(state.candidates) == 1 or (was_chosen and not takes_over):
        return grounds.proposal(
            Action.ROLLBACK,
            Signal.ROLL_BACK,
            variant=variant,
            roll_back=variant,
            winner="" if was_chosen else None,
            shares=all_to(state.control),
        )
    weights = dict(state.weights)
    weights[heir or state.control] += weights[variant]
    weights[variant] = 0
    shadow = {name: share for name, share in state.shadow.items() if name != variant}
    # Who serves everybody from now on is guarded, and what served before is kept, from now on.
    is_anew = was_chosen and state.phase is Phase.PROMOTED
    return grounds.proposal(
        Action.ROLLBACK,
        Signal.DROP,
        variant=variant,
        roll_back=variant,
        step=state.step if is_anew else None,
        increment=0 if is_anew else None,
        winner=heir if was_chosen else None,
        shares=Shares(weights, shadow),
    )


def step_back(state: ExperimentState, variant: str, guardrail: int, grounds: Grounds) -> Proposal:
    """One increment back, judged anew from there; a rollback when there is nothing below."""
    place = _below(state)
    if place is None:
        return roll_back(state, variant, grounds)
    step, increment = place
    return grounds.proposal(
        Action.STEP_BACK,
        Signal.STEP_BACK,
        variant=variant,
        step=step,
        increment=increment,
        judged_anew=((guardrail, variant),),
        shares=shares_at(state.spec, state.candidates, state.winner, step, increment),
    )


def every_guardrail(state: ExperimentState) -> tuple[tuple[int, str], ...]:
    """All pairs of a guardrail and a candidate."""
    return tuple(
        (index, name) for index in range(len(state.spec.guardrails)) for name in state.candidates
    )


def _below(state: ExperimentState) -> tuple[int, int] | None:
    """The last canary increment at which candidates had less than now, or the open ring before."""
    if state.phase not in (Phase.RUNNING, Phase.PAUSED) or state.strategy.back is not None:
        return None
    if state.strategy.name == "rings":
        # A closed ring would be passed at once: a step back that nothing follows from.
        for increment in range(state.increment - 1, -1, -1):
            if state.settings.rings[increment].name not in state.closed:
                return state.step, increment
    reached_bp = sum(state.weights.get(name, 0) for name in state.candidates)
    for step in range(state.step, -1, -1):
        shares_bp = _canary_shares(state, step)
        if shares_bp is None:
            return None
        last = state.increment if step == state.step else len(shares_bp)
        for increment in range(min(last, len(shares_bp)) - 1, -1, -1):
            if shares_bp[increment] < reached_bp:
                return step, increment
    return None


def _canary_shares(state: ExperimentState, step: int) -> tuple[int, ...] | None:
    """Shares that a step can be stepped back to: none of a step that is no canary.

    None: a step before the running one gave shares of its own, and what was before it is over.
    """
    item = state.spec.release[step]
    if item.canary is not None:
        return item.canary.shares_bp
    if item.rings is not None and step != state.step:
        return (item.rings.weight_bp,) * len(item.rings.rings)
    return () if step == state.step or strategy_at(state.spec, step).keeps else None


def last_increment(step: Step) -> int:
    """Number of a step's last share or ring; 0 when it has none."""
    if step.canary is not None:
        return len(step.canary.shares_bp) - 1
    return 0 if step.rings is None else len(step.rings.rings) - 1
