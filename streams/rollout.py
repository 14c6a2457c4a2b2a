"""The life of a release as a table: which signal is legal in which phase, and where it leads.

Code only walks the table. An illegal signal raises and nothing happens; the diagram in
`docs/rollout.md` is drawn from the table and a test fails when it is stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from tidegate.schemas.errors import DefinitionError


class Phase(StrEnum):
    """Where an experiment stands; published as `Decision.phase`."""

    IDLE = "IDLE"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    PROMOTED = "PROMOTED"
    COMPLETED = "COMPLETED"
    ROLLED_BACK = "ROLLED_BACK"
    ABORTED = "ABORTED"
    FLAG = "FLAG"


class Signal(StrEnum):
    """What may happen to an experiment."""

    START = "start"  # a generation with a release begins
    START_FLAG = "start flag"  # a generation without a release begins
    AMEND = "amend"  # the manifest changes, the statistics stay
    WEIGH = "weigh"  # weights move within a step
    ADVANCE = "advance"  # the running step is passed
    STEP_BACK = "step back"  # a guardrail takes one increment back
    PROMOTE = "promote"  # the winner gets everything, the previous variant is kept ready
    FINISH = "finish"  # the release has ended
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"  # a person ends the release, control serves
    CLOSE_RING = "close ring"  # one ring goes back to control, the release goes on in the others
    DROP = "drop"  # one variant is rolled back, the release goes on without it
    ROLL_BACK = "roll back"  # the last variant beside control is rolled back
    SET = "set"  # a person moves a flag


_ANEW = {Signal.START: Phase.RUNNING, Signal.START_FLAG: Phase.FLAG}


def _stays(phase: Phase, *signals: Signal) -> dict[Signal, Phase]:
    return dict.fromkeys(signals, phase)


TRANSITIONS: Mapping[Phase, Mapping[Signal, Phase]] = {
    Phase.IDLE: _ANEW,
    Phase.RUNNING: {
        **_ANEW,
        **_stays(Phase.RUNNING, Signal.AMEND, Signal.WEIGH, Signal.ADVANCE),
        **_stays(Phase.RUNNING, Signal.STEP_BACK, Signal.DROP, Signal.CLOSE_RING),
        Signal.PROMOTE: Phase.PROMOTED,
        Signal.FINISH: Phase.COMPLETED,
        Signal.PAUSE: Phase.PAUSED,
        Signal.ABORT: Phase.ABORTED,
        Signal.ROLL_BACK: Phase.ROLLED_BACK,
    },
    Phase.PAUSED: {
        **_ANEW,
        **_stays(Phase.PAUSED, Signal.AMEND, Signal.STEP_BACK, Signal.DROP),
        **_stays(Phase.PAUSED, Signal.CLOSE_RING),
        Signal.RESUME: Phase.RUNNING,
        Signal.ADVANCE: Phase.RUNNING,
        Signal.PROMOTE: Phase.PROMOTED,
        Signal.FINISH: Phase.COMPLETED,
        Signal.ABORT: Phase.ABORTED,
        Signal.ROLL_BACK: Phase.ROLLED_BACK,
    },
    Phase.PROMOTED: {
        **_ANEW,
        **_stays(Phase.PROMOTED, Signal.AMEND, Signal.DROP),
        Signal.FINISH: Phase.COMPLETED,
        Signal.ABORT: Phase.ABORTED,
        Signal.ROLL_BACK: Phase.ROLLED_BACK,
    },
    Phase.COMPLETED: {
        **_ANEW,
        **_stays(Phase.COMPLETED, Signal.DROP),
        Signal.ROLL_BACK: Phase.ROLLED_BACK,
    },
    Phase.ROLLED_BACK: {
        **_ANEW,
        # Another candidate may still stand by at 0 when the promoted one is rolled back.
        **_stays(Phase.ROLLED_BACK, Signal.DROP, Signal.ROLL_BACK),
    },
    Phase.ABORTED: {
        **_ANEW,
        **_stays(Phase.ABORTED, Signal.DROP),
        Signal.ROLL_BACK: Phase.ROLLED_BACK,
    },
    Phase.FLAG: {
        **_ANEW,
        **_stays(Phase.FLAG, Signal.AMEND, Signal.SET, Signal.DROP, Signal.ROLL_BACK),
    },
}

ENDED = frozenset({Phase.COMPLETED, Phase.ROLLED_BACK, Phase.ABORTED})
"""Phases that only a new generation leaves (a rollback aside)."""


class IllegalSignal(DefinitionError):
    """The signal has no place in this phase; nothing was done."""


def next_phase(phase: Phase, signal: Signal) -> Phase:
    """The phase after `signal`.

    Raises:
        IllegalSignal: the table has no such transition.

    >>> next_phase(Phase.RUNNING, Signal.PAUSE)
    <Phase.PAUSED: 'PAUSED'>
    """
    try:
        return TRANSITIONS[phase][signal]
    except KeyError:
        possible = ", ".join(TRANSITIONS[phase])
        raise IllegalSignal(
            f"{signal} is not possible while {phase}; possible are {possible}"
        ) from None


def is_legal(phase: Phase, signal: Signal) -> bool:
    """Whether the table has the transition."""
    return signal in TRANSITIONS[phase]


def mermaid() -> str:
    """The table as a Mermaid state diagram, signals between the same two phases on one arrow."""
    lines = ["stateDiagram-v2", "    [*] --> IDLE"]
    for phase, transitions in TRANSITIONS.items():
        arrows: dict[Phase, list[Signal]] = {}
        for signal, target in transitions.items():
            arrows.setdefault(target, []).append(signal)
        lines += [
            f"    {phase} --> {target} : {', '.join(signals)}" for target, signals in arrows.items()
        ]
    return "\n".join(lines) + "\n"
