"""What the evidence asks for: guardrails at once, steps by watermarked time.

A breach is judged on every batch and never waits. A step is judged when the watermark rises; it
is passed only while every guardrail has data and none fails: no data is never success.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.streams import guardrails
from tidegate.streams.deciding import moves
from tidegate.streams.deciding.experiment import BEGINNING, FLAG_STEP, ExperimentState
from tidegate.streams.deciding.proposals import Action, Proposal
from tidegate.streams.estimation import Arm
from tidegate.streams.guardrails import Reading
from tidegate.streams.rollout import Phase, Signal
from tidegate.streams.strategies.base import Kind, Move, Standing, Verdict
from tidegate.streams.wording import basis_points, count

GUARDED = frozenset({Phase.RUNNING, Phase.PAUSED, Phase.PROMOTED, Phase.FLAG})
STEPPING = frozenset({Phase.RUNNING, Phase.PROMOTED})

_SEVERITY = ("rollback", "step_back", "pause")


class LedgerEvidence:
    """The ledger as strategies see it."""

    __slots__ = ("_state",)

    def __init__(self, state: ExperimentState) -> None:
        self._state = state

    def requests(self, variant: str) -> int:
        """Requests that tables of the running increment routed to a variant."""
        return self._state.samples(variant)

    def disagreement(self, variant: str) -> tuple[int, int]:
        """Compared requests whose answers disagree, and all compared requests."""
        tally = self._state.ledger.shadows[variant]
        return tally.disagree, tally.disagree + tally.agree

    def arms(self, variants: Sequence[str]) -> Sequence[Arm]:
        """The objective of each variant."""
        objective = self._state.spec.objective
        return () if objective is None else self._state.ledger.arms(objective, variants)

    @property
    def goal(self) -> str:
        """Whether the objective shall `increase` or `decrease`."""
        objective = self._state.spec.objective
        return "increase" if objective is None else self._state.spec.metrics[objective].goal


def standing_of(state: ExperimentState, watermark_ms: int) -> Standing:
    """The running step as its strategy sees it."""
    return Standing(
        settings=state.settings, control=state.control, candidates=state.candidates,
        weights=state.weights, increment=state.increment, since_ms=state.since_ms,
        checked_ms=state.checked_ms, watermark_ms=watermark_ms, evidence=LedgerEvidence(state),
    )  # fmt: skip


def readings(state: ExperimentState) -> list[Reading]:
    """Every guardrail for every candidate that is not rolled back."""
    return [
        guardrails.read(
            state.spec, index, candidate, state.ledger,
            state.judged_from.get(f"{index}/{candidate}", BEGINNING),
        )
        for index in range(len(state.spec.guardrails))
        for candidate in state.candidates
    ]  # fmt: skip


def breach(state: ExperimentState) -> Proposal | None:
    """What a failing guardrail asks for; the gravest first, each at most once per increment."""
    if state.phase not in GUARDED:
        return None
    failing = [item for item in readings(state) if item.verdict is Verdict.FAIL]
    failing.sort(key=lambda item: (_SEVERITY.index(_reaction(state, item)), item.index))
    for item in failing:
        proposal = _react(state, item)
        if proposal is not None:
            return proposal
    return None


def step(state: ExperimentState, watermark_ms: int) -> Proposal | None:
    """What the running step asks for at this watermark."""
    if state.phase not in STEPPING or not state.candidates:
        return None
    standing = standing_of(state, watermark_ms)
    move = state.strategy.decide(standing)
    if move is None:
        return None
    state.checked_ms = watermark_ms
    if move.kind in (Kind.INCREMENT, Kind.PASS) and state.strategy.serves:
        move = _without_data(state) or move
    return _proposal(state, move)


def evidence_of(state: ExperimentState) -> dict[str, Any]:
    """The numbers that stand behind every decision."""
    return {
        "variants": {name: _variant(state, name) for name in sorted(state.spec.variants)},
        "guardrails": [item.to_dict() for item in readings(state)],
        "increment": state.increment,
        "rolled_back": list(state.rolled_back),
    }


def _variant(state: ExperimentState, name: str) -> dict[str, Any]:
    tally, shadow = state.ledger.tallies[name], state.ledger.shadows[name]
    measured = {}
    for metric in sorted(state.spec.metrics):
        moments = state.ledger.moments(metric, name)
        measured[metric] = {"n": moments.n, "mean": moments.mean, "variance": moments.variance}
    return {
        "requests": tally.exposures, "learnt": tally.learnt, "closed": tally.closed,
        "in_step": state.samples(name), "statuses": dict(tally.statuses),
        "irregular": dict(tally.irregular),
        "shadow": {"disagree": shadow.disagree, "agree": shadow.agree},
        "metrics": measured,
    }  # fmt: skip


def _reaction(state: ExperimentState, item: Reading) -> str:
    return state.spec.guardrails[item.index].on_breach


def _react(state: ExperimentState, item: Reading) -> Proposal | None:
    reaction = _reaction(state, item)
    evidence = {"breach": item.to_dict()}
    pair = (item.index, item.candidate)
    if reaction == "rollback":
        return moves.roll_back(
            state, item.candidate, item.sentence, verdict=Verdict.FAIL, automatic=True,
            evidence=evidence,
        )  # fmt: skip
    if reaction == "step_back":
        return moves.step_back(state, item.candidate, item.sentence, (pair,), evidence)
    if state.phase is Phase.RUNNING:
        return moves.stop(state, item.sentence, Verdict.FAIL, item.candidate, evidence)
    if state.step == FLAG_STEP or state.phase is Phase.PROMOTED:
        return _tell_once(state, item, evidence)
    return None


def _tell_once(
    state: ExperimentState, item: Reading, evidence: dict[str, Any]
) -> Proposal | None:
    """Where nothing can pause a breach is told, once per set of shares."""
    mark = f"{item.index}/{item.candidate}"
    if state.held == mark:
        return None
    return Proposal(
        Action.HOLD, item.sentence, verdict=Verdict.FAIL, variant=item.candidate, automatic=True,
        held=mark, evidence=evidence,
    )  # fmt: skip


def _without_data(state: ExperimentState) -> Move | None:
    for item in readings(state):
        if item.verdict is Verdict.NO_DATA:
            needed = state.spec.guardrails[item.index].min_samples
            reason = (
                f"guardrail {item.metric} has {count(item.n)} of {count(needed)} requests of"
                f" {item.candidate}: waiting, no data is no success"
            )
            return Move(Kind.HOLD, Verdict.NO_DATA, reason)
    return None


def _proposal(state: ExperimentState, move: Move) -> Proposal | None:
    evidence = dict(move.evidence)
    match move.kind:
        case Kind.CHECKED:
            return None
        case Kind.HOLD:
            if state.held == move.verdict:
                return None
            return Proposal(
                Action.HOLD, move.reason, verdict=move.verdict, automatic=True,
                held=str(move.verdict), evidence=evidence,
            )  # fmt: skip
        case Kind.WEIGH:
            weights = dict(move.weights or {})
            told = ", ".join(f"{name} {basis_points(share)}" for name, share in weights.items())
            return Proposal(
                Action.UPDATE, f"{move.reason}: {told}", Signal.WEIGH, move.verdict,
                shares=moves.with_weights(state, weights), automatic=True, evidence=evidence,
            )  # fmt: skip
        case Kind.INCREMENT:
            return moves.next_increment(state, move.reason, evidence)
        case Kind.PASS:
            return moves.next_step(
                state, move.reason, move.verdict, move.winner, True, evidence
            )  # fmt: skip
        case Kind.STOP:
            return moves.stop(state, move.reason, move.verdict, move.winner, evidence)
        case Kind.FINISH:
            return moves.finish(state, move.reason, move.verdict, move.winner, evidence)
