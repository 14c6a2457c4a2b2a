"""Releases move only as the table says."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from tidegate.streams.rollout import (
    ENDED,
    TRANSITIONS,
    IllegalSignal,
    Phase,
    Signal,
    is_legal,
    mermaid,
    next_phase,
)

HISTORIES = """
    start                                           RUNNING
    start, weigh, advance, advance                  RUNNING
    start, pause, resume                            RUNNING
    start, pause, amend                             PAUSED
    start, advance, step back                       RUNNING
    start, pause, advance                           RUNNING
    start, promote                                  PROMOTED
    start, promote, finish                          COMPLETED
    start, finish, roll back                        ROLLED_BACK
    start, drop, roll back                          ROLLED_BACK
    start, promote, roll back                       ROLLED_BACK
    start, pause, roll back                         ROLLED_BACK
    start, abort                                    ABORTED
    start, abort, start                             RUNNING
    start, roll back, start                         RUNNING
    start flag, set, set, roll back                 FLAG
    start flag, start                               RUNNING
    start, promote, roll back, drop                 ROLLED_BACK
    start, roll back, promote                       illegal
    start, roll back, resume                        illegal
    start, roll back, advance                       illegal
    start, abort, resume                            illegal
    start, resume                                   illegal
    start, pause, pause                             illegal
    start, promote, advance                         illegal
    start, set                                      illegal
    start flag, promote                             illegal
    pause                                           illegal
"""


def cases() -> list[tuple[str, str]]:
    """One history a line, the outcome last."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in HISTORIES.strip().splitlines()]
    return [(history, outcome) for history, outcome in rows]


@pytest.mark.parametrize(("history", "outcome"), cases())
def test_histories_end_where_the_table_says(history: str, outcome: str) -> None:
    """Every line of the table above: signals from the beginning, then the phase."""
    phase = Phase.IDLE
    try:
        for signal in history.split(", "):
            phase = next_phase(phase, Signal(signal))
    except IllegalSignal:
        assert outcome == "illegal"
    else:
        assert phase == outcome


@pytest.mark.parametrize(("phase", "signal"), list(itertools.product(Phase, Signal)))
def test_every_pair_is_either_in_the_table_or_raises(phase: Phase, signal: Signal) -> None:
    """No pair of phase and signal is undecided, and a refusal names what is possible."""
    if is_legal(phase, signal):
        assert next_phase(phase, signal) in Phase
    else:
        with pytest.raises(IllegalSignal, match="possible are"):
            next_phase(phase, signal)


def test_only_a_new_generation_leaves_rolled_back() -> None:
    """A rollback is final for its generation."""
    leaving = {
        signal
        for signal, target in TRANSITIONS[Phase.ROLLED_BACK].items()
        if target is not Phase.ROLLED_BACK
    }
    assert leaving == {Signal.START, Signal.START_FLAG}


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.IDLE}))
def test_a_rollback_is_possible_wherever_a_candidate_may_serve(phase: Phase) -> None:
    """Nothing stands in the way of a rollback."""
    assert is_legal(phase, Signal.ROLL_BACK)


@pytest.mark.parametrize("phase", sorted(ENDED))
def test_an_ended_release_moves_no_weight_by_itself(phase: Phase) -> None:
    """After the end only a rollback or a new generation may follow."""
    allowed = {Signal.START, Signal.START_FLAG, Signal.ROLL_BACK, Signal.DROP}
    assert set(TRANSITIONS[phase]) <= allowed


def test_every_phase_can_be_reached() -> None:
    """A phase nobody can reach is a mistake in the table."""
    reached, frontier = {Phase.IDLE}, [Phase.IDLE]
    while frontier:
        for target in TRANSITIONS[frontier.pop()].values():
            if target not in reached:
                reached.add(target)
                frontier.append(target)
    assert reached == set(Phase)


def test_the_diagram_is_drawn_from_the_table() -> None:
    """`docs/rollout.md` shows the table as it is; run the tests after changing either."""
    page = Path(__file__).parents[2] / "docs" / "rollout.md"
    assert f"```mermaid\n{mermaid()}```" in page.read_text(encoding="utf-8")
