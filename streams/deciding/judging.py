"""What the evidence asks of a step, by watermarked time.

A step is judged when the watermark rises; it is passed only while every guardrail has data of this
step and none fails (`guarding`): no data is never success.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tidegate.schemas.manifest.steps import Canary
from tidegate.streams.deciding import guarding, moves, rings
from tidegate.streams.deciding.deployment import WAY_BACK
from tidegate.streams.deciding.experiment import ExperimentState
from tidegate.streams.deciding.moves import Grounds
from tidegate.streams.deciding.proposals import Action, Proposal
from tidegate.streams.estimation import Arm, Pair, ShadowTally
from tidegate.streams.inference import method_for
from tidegate.streams.rollout import Phase, Signal
from tidegate.streams.strategies import canary
from tidegate.streams.strategies.base import Kind, Move, Standing
from tidegate.streams.strategies.instances import Instance
from tidegate.streams.wording import basis_points

STEPPING = frozenset({Phase.RUNNING, Phase.PROMOTED})

OBJECTIVE_ALPHA = 0.025
"""On either side: the effect is told with 95 % always valid."""


class LedgerEvidence:
    """The ledger as strategies see it."""

    __slots__ = ("_state",)

    def __init__(self, state: ExperimentState) -> None:
        self._state = state

    def requests(self, variant: str) -> int:
        """Requests that tables of the running increment routed to a variant."""
        return self._state.samples(variant)

    def requests_in(self, ring: str, variant: str) -> int:
        """The same of one ring."""
        return self._state.ledger.rings.by_name[ring].learnt(variant, self._state.first_table)

    def disagreement(self, variant: str) -> tuple[int, int]:
        """Compared requests whose answers disagree, and all compared requests."""
        tally = self._state.ledger.shadows[variant]
        return tally.disagree, tally.disagree + tally.agree

    def shadow(self, variant: str) -> ShadowTally:
        """What a variant answered unseen."""
        return self._state.ledger.shadows[variant]

    def incomparable(self, variant: str) -> int:
        """Pairs of a request and its shadow of which one side has nothing to compare."""
        tally = self._state.ledger.shadows[variant]
        return tally.pairs - tally.disagree - tally.agree

    def arms(self, variants: Sequence[str]) -> Sequence[Arm]:
        """The objective of each variant."""
        objective = self._state.spec.objective
        return () if objective is None else self._state.ledger.arms(objective, variants)

    def pairs(self, candidate: str) -> Sequence[Pair]:
        """The objective in control and a candidate, on tables of the running increment."""
        state = self._state
        objective = state.spec.objective
        if objective is None:
            return ()
        return state.ledger.pairs(objective, state.control, candidate, state.first_table)

    @property
    def goal(self) -> Literal["increase", "decrease"]:
        """Whether the objective shall `increase` or `decrease`."""
        objective = self._state.spec.objective
        return "increase" if objective is None else self._state.spec.metrics[objective].goal


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known beside an experiment's own evidence: the times, and its instances."""

    watermark_ms: int
    log_time_ms: int = 0
    fleet: tuple[Instance, ...] = ()


def standing_of(state: ExperimentState, sight: Sight) -> Standing:
    """The running step as its strategy sees it."""
    return Standing(
        settings=state.settings,
        control=state.control,
        candidates=state.candidates,
        weights=state.weights,
        increment=state.increment,
        since_ms=state.since_ms,
        checked_ms=state.checked_ms,
        watermark_ms=sight.watermark_ms,
        evidence=LedgerEvidence(state),
        closed=tuple(state.closed),
        variants=state.spec.variants,
        now_ms=sight.log_time_ms,
        fleet=sight.fleet,
        issued=state.deployment.ids,
        memo=state.deployment.memo,
    )


def step(state: ExperimentState, sight: Sight) -> Proposal | None:
    """What guardrails that are due, or else the running step, ask for at this moment.

    After a rollback: what the way back does.
    """
    broken = guarding.due(state, sight.watermark_ms)
    if broken is not None:
        return broken
    strategy, standing = state.strategy, standing_of(state, sight)
    if state.phase in WAY_BACK and strategy.back is not None:
        move = strategy.back(standing)
    elif state.phase in STEPPING and state.candidates:
        move = strategy.decide(standing)
    else:
        return _watched(state, standing)
    if move is None:
        return None
    # When the evidence was looked at is a note for the strategy, not a decision.
    state.checked_ms = sight.watermark_ms
    move = _with_data(state, standing, move)
    if move.kind is Kind.CHECKED and move.memo is not None:
        state.deployment.memo = dict(move.memo)
    proposal = _proposal(state, move)
    if proposal is None or move.memo is None:
        return proposal
    return replace(proposal, commands=move.commands, memo=move.memo)


def _watched(state: ExperimentState, standing: Standing) -> Proposal | None:
    """While a release to instances is paused: what is wrong there takes it back all the same.

    Without the note of its last move, for commands do not time out in a pause: they are not
    repeated there.
    """
    if state.phase is not Phase.PAUSED or state.strategy.back is None or not state.candidates:
        return None
    move = state.strategy.decide(replace(standing, memo={}))
    return _proposal(state, move) if move is not None and move.kind is Kind.ROLL_BACK else None


def _with_data(state: ExperimentState, standing: Standing, move: Move) -> Move:
    """The move, or why it waits: every guardrail must have its data, also when time is over."""
    is_limited = isinstance(state.settings, Canary)
    if is_limited:
        move = canary.out_of_time(standing, move)
    needs_data = move.needs_data
    if needs_data is None:
        serves = any(state.weights.get(name) for name in state.candidates)
        onward = move.kind in (Kind.INCREMENT, Kind.PASS)
        needs_data = onward and state.strategy.serves and serves
    held = guarding.without_data(state) if needs_data else None
    if held is None:
        return move
    return canary.out_of_time(standing, held) if is_limited else held


def evidence_of(state: ExperimentState) -> dict[str, Any]:
    """The numbers that stand behind every decision."""
    return {
        "variants": {name: _variant(state, name) for name in sorted(state.spec.variants)},
        **findings_of(state),
        "increment": state.increment,
        "rolled_back": list(state.rolled_back),
        **_rings(state),
    }


def findings_of(state: ExperimentState) -> dict[str, Any]:
    """What the statistics come to: a part of the evidence that views tell as well."""
    return {
        "guardrails": [item.to_dict() for item in guarding.readings(state)],
        "objective": objective_of(state),
        "drift": drift_of(state),
    }


def _rings(state: ExperimentState) -> dict[str, Any]:
    if not state.spec.rings:
        return {}
    readings = [item.to_dict() for item in rings.running_readings(state)]
    return {"rings": rings.told(state), "ring_guardrails": readings}


def objective_of(state: ExperimentState) -> dict[str, Any] | None:
    """Every candidate's effect on the objective, relative to control; None without objective."""
    name = state.spec.objective
    if name is None:
        return None
    metric, effects = state.spec.metrics[name], []
    for candidate in state.spec.candidates:
        pairs = state.ledger.pairs(name, state.control, candidate)
        found = method_for(metric.type == "binary").compare(pairs, OBJECTIVE_ALPHA, True)
        if found is not None:
            effects.append(
                {
                    "candidate": candidate,
                    "estimate": found.estimate,
                    "lower": found.lower,
                    "upper": found.upper,
                    "mean": found.candidate,
                    "control_mean": found.control,
                    "n": found.n_candidate,
                    "n_control": found.n_control,
                }
            )
    return {"metric": name, "goal": metric.goal, "effects": effects}


def squared_error_of(state: ExperimentState, name: str) -> dict[str, Any] | None:
    """How much larger a variant's squared error was unseen than the answer's; None without any."""
    tally = state.ledger.shadows[name]
    if not tally.scored:
        return None
    moments = tally.squared_error.moments()
    found = method_for(False).bound(moments, OBJECTIVE_ALPHA)
    return {
        "n": tally.scored,
        "estimate": moments.mean,
        "lower": None if found is None else found.lower,
        "upper": None if found is None else found.upper,
    }


def drift_of(state: ExperimentState) -> list[dict[str, Any]]:
    """Alarms of the drift detectors; they act on nothing by themselves."""
    return [
        {
            "metric": metric,
            "variant": variant,
            "detector": kind,
            "detections": detector.detections,
            "observations": detector.observations,
            "detected_at": detector.detected_at,
        }
        for metric, variant, kind, detector in state.ledger.drifts()
        if detector.detections
    ]


def _variant(state: ExperimentState, name: str) -> dict[str, Any]:
    tally, shadow = state.ledger.tallies[name], state.ledger.shadows[name]
    measured = {}
    for metric in sorted(state.spec.metrics):
        moments = state.ledger.moments(metric, name)
        measured[metric] = {"n": moments.n, "mean": moments.mean, "variance": moments.variance}
    return {
        "requests": tally.exposures,
        "learnt": tally.learnt,
        "closed": tally.closed,
        "in_step": state.samples(name),
        "statuses": dict(tally.statuses),
        "irregular": tally.irregular_by_class(),
        "shadow": {"disagree": shadow.disagree, "agree": shadow.agree},
        "metrics": measured,
    }


def _proposal(state: ExperimentState, move: Move) -> Proposal | None:
    grounds = Grounds(move.reason, move.verdict, move.evidence, automatic=True)
    if move.kind is Kind.HOLD:
        mark = str(move.verdict)
        return None if state.held == mark else grounds.proposal(Action.HOLD, None, held=mark)
    if move.kind is Kind.WEIGH and move.weights is not None:
        return _weigh(state, grounds, move.weights)
    carry_out = _CARRIED_OUT.get(move.kind)
    return None if carry_out is None else carry_out(state, grounds, move.winner)


_CARRIED_OUT: Mapping[Kind, Callable[[ExperimentState, Grounds, str], Proposal]] = {
    Kind.INCREMENT: lambda state, grounds, _: moves.next_increment(state, grounds),
    Kind.PASS: moves.next_step,
    Kind.STOP: lambda _, grounds, variant: moves.stop(grounds, variant),
    Kind.WAIT: lambda _, grounds, __: moves.await_person(grounds),
    Kind.FINISH: moves.finish,
    Kind.ROLL_BACK: lambda state, grounds, variant: moves.roll_back(state, variant, grounds),
    # Whoever waits after this one may say so again.
    Kind.DEPLOY: lambda _, grounds, variant: grounds.proposal(
        Action.DEPLOY, None, variant=variant, held=""
    ),
}


def _weigh(state: ExperimentState, grounds: Grounds, weights: Mapping[str, int]) -> Proposal:
    told = ", ".join(f"{name} {basis_points(share)}" for name, share in sorted(weights.items()))
    said = replace(grounds, reason=f"{grounds.reason}; now {told}")
    return said.proposal(Action.UPDATE, Signal.WEIGH, shares=moves.with_weights(state, weights))
