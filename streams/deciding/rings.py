"""Rings of a release: which are open, and what a breach within one of them asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.schemas.manifest.steps import Rings
from tidegate.streams import guardrails
from tidegate.streams.deciding import moves
from tidegate.streams.deciding.experiment import ExperimentState, strategy_at
from tidegate.streams.deciding.moves import Grounds
from tidegate.streams.deciding.proposals import Action, Proposal
from tidegate.streams.guardrail_reading import Reading, Since
from tidegate.streams.rollout import Phase, Signal
from tidegate.streams.strategies.base import ALL_BP, Verdict

CLOSING = ("rollback", "step_back")
"""What a guardrail must ask for to close a ring; pauses and alerts are of all rings together."""

_SINCE_EVER = Since()


def running(state: ExperimentState) -> tuple[Rings, int] | None:
    """The rings whose shares are in force, and how many of them have started.

    A pause or an approval after rings keeps what they gave.
    """
    step = state.step
    while step >= 0 and strategy_at(state.spec, step).keeps:
        step -= 1
    rings = state.spec.release[step].rings if step >= 0 else None
    if rings is None or max(state.weights.values()) == ALL_BP:
        return None
    return rings, state.increment + 1 if step == state.step else len(rings.rings)


def limits_of(state: ExperimentState) -> list[dict[str, Any]] | None:
    """`rings` of the routing table's rules; None while everybody takes part.

    While rings run, those that have started are open. When the release has passed on, or one
    variant was given everything, everybody is, except for rings that a breach has closed.
    """
    found, rings = running(state), state.spec.rings
    if found is None and not state.closed:
        return None
    started = len(rings) if found is None else found[1]
    limits = [
        {
            "name": ring.name,
            "when": ring.when.to_condition(),
            "open": ring.name not in state.closed and number < started,
        }
        for number, ring in enumerate(rings)
    ]
    return limits if found is not None else [*limits, {"name": "others", "when": [], "open": True}]


def open_rings(state: ExperimentState) -> list[str]:
    """Names of the rings that candidates serve in while rings run, in their order."""
    found = running(state)
    if found is None:
        return []
    rings, started = found
    return [ring.name for ring in rings.rings[:started] if ring.name not in state.closed]


def breach(state: ExperimentState) -> Proposal | None:
    """Closes the first ring in which a guardrail surely fails, if rings are judged singly."""
    if not _is_judged(state):
        return None
    spec = judged_spec(state.spec)
    for ring in open_rings(state):
        ledger = state.ledger.rings.by_name[ring]
        for index in _closing(spec):
            for candidate in state.candidates:
                case = (spec, index, candidate, ledger, _SINCE_EVER)
                if guardrails.may_fail(*case):
                    item = guardrails.read(*case)
                    if item.verdict is Verdict.FAIL:
                        return _close(state, ring, item)
    return None


def judged_alone(state: ExperimentState) -> frozenset[int]:
    """Guardrails that all rings together add nothing to: fewer than two rings are open.

    What is left of the evidence is the one ring's, and may close it only at its own share of
    alpha; taken as everybody's it would roll everything back, and sooner.
    """
    if not _is_judged(state) or len(open_rings(state)) > 1:
        return frozenset()
    return frozenset(_closing(state.spec))


def running_readings(state: ExperimentState) -> list[Reading]:
    """Every guardrail that could close the running ring, for every candidate that is left."""
    ring = running_ring(state)
    if not _is_judged(state) or not ring or ring in state.closed:
        return []
    spec, ledger = judged_spec(state.spec), state.ledger.rings.by_name[ring]
    return [
        guardrails.read(spec, index, candidate, ledger, _SINCE_EVER)
        for index in _closing(spec)
        for candidate in state.candidates
    ]


def running_ring(state: ExperimentState) -> str:
    """The ring that started last while a step of rings runs, else nothing."""
    if state.strategy.name != "rings":
        return ""
    found: str = state.settings.rings[state.increment].name
    return found


def _closing(spec: ExperimentSpec) -> list[int]:
    """The guardrails that can close a ring.

    Checks are of all rings together, at their own times; no fact of a ring tells of shadows.
    """
    return [
        index
        for index, item in enumerate(spec.guardrails)
        if item.on_breach in CLOSING
        and item.checks is None
        and spec.metrics[item.metric].field != "disagreement"
    ]


def judged_spec(spec: ExperimentSpec) -> ExperimentSpec:
    """The spec with each guardrail's error rate shared out over the rings (Bonferroni 1936).

    So the promise of `alpha` holds for all rings of the run together.
    """
    number = max(1, len(spec.rings))
    shared = [item.model_copy(update={"alpha": item.alpha / number}) for item in spec.guardrails]
    return spec.model_copy(update={"guardrails": tuple(shared)})


def told(state: ExperimentState) -> list[dict[str, Any]]:
    """The rings on one screen: where each stands, and requests that are learnt from by variant."""
    started = _started(state)
    return [
        {
            "name": ring.name,
            "state": _state_of(state, ring.name, number < started),
            "requests": {
                name: state.ledger.rings.by_name[ring.name].learnt(name) for name in _order(state)
            },
        }
        for number, ring in enumerate(state.spec.rings)
    ]


def _started(state: ExperimentState) -> int:
    found = running(state)
    if found is not None:
        return found[1]
    is_to_come = state.waits or all(
        step.rings is None for step in state.spec.release[: state.step + 1]
    )
    return 0 if is_to_come else len(state.spec.rings)


def _state_of(state: ExperimentState, ring: str, started: bool) -> str:
    if ring in state.closed:
        return "closed"
    return "open" if started else "waiting"


def _order(state: ExperimentState) -> Iterator[str]:
    yield state.control
    yield from state.spec.candidates


def _is_judged(state: ExperimentState) -> bool:
    found = running(state)
    may_close = state.phase in (Phase.RUNNING, Phase.PAUSED)
    return found is not None and found[0].on_breach == "ring" and may_close


def _close(state: ExperimentState, ring: str, item: Reading) -> Proposal:
    evidence = {"breach": item.to_dict(), "ring": ring}
    reason = f"ring {ring}: {item.sentence}"
    left = _left(state, ring)
    if not left:
        last = f"{reason}; no ring is left"
        return moves.roll_back(state, item.candidate, Grounds(last, Verdict.FAIL, evidence, True))
    grounds = Grounds(
        f"{reason}; only this ring goes back to control", Verdict.FAIL, evidence, True
    )
    return grounds.proposal(
        Action.CLOSE_RING,
        Signal.CLOSE_RING,
        variant=item.candidate,
        close_ring=ring,
        # What happened in the ring that is closed is no evidence about the others.
        judged_anew=moves.every_guardrail(state),
    )


def _left(state: ExperimentState, ring: str) -> Sequence[str]:
    return [
        other.name
        for other in state.spec.rings
        if other.name != ring and other.name not in state.closed
    ]
