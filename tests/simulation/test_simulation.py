"""The simulator holds what it promises: a short run, planted bugs, determinism, short failures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation import planted, running
from tests.simulation.__main__ import main
from tests.simulation.playing import run
from tests.simulation.running import Summary, hunt, run_all
from tests.simulation.schedule import STEPS, draw
from tests.simulation.shrinking import parsed, shrink, told
from tests.simulation.sometimes import ENOUGH, SOMETIMES, missing

SCHEDULES = 60
HUNTED = 120

TRACES = """
from tests.simulation.playing import run
from tests.simulation.schedule import draw
for seed in range(12):
    result = run(draw(seed), trace=True)
    print(seed, result.kind, result.violation, result.trace)
"""


def test_every_invariant_holds() -> None:
    """Whatever happens in these schedules; `make simulate` plays as many as one likes."""
    summary = run_all(1_000_000, SCHEDULES, processes=1)
    assert summary.faults == []
    assert sum(summary.schedules.values()) == SCHEDULES
    assert set(summary.schedules) == {"join", "decide", "loop"}
    assert len([name for name in SOMETIMES if summary.seen[name]]) > 0.7 * len(SOMETIMES)


@pytest.mark.parametrize("name", planted.BUGS)
def test_a_planted_bug_is_caught(name: str) -> None:
    """By some invariant, in few schedules; what cannot be caught would prove nothing by silence."""
    caught = hunt(name, 0, HUNTED, to_the_end=False)
    assert caught.first_seed >= 0, planted.BUGS[name].sentence


def test_a_planted_bug_is_gone_afterwards() -> None:
    """The same schedule holds without it."""
    caught = hunt("window closed above", 0, HUNTED, to_the_end=False)
    assert run(draw(caught.first_seed)).violation == ""


def test_a_seed_is_a_trace_whatever_the_hash_seed() -> None:
    """Every log, every state, every count: also in a process that orders sets otherwise."""
    found = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", TRACES], env=environment, check=True, capture_output=True,
            text=True,
        )  # fmt: skip
        found.append(done.stdout)
    assert found[0] == found[1]
    assert len(set(found[0].splitlines())) == 12


def test_processes_do_not_change_what_is_seen() -> None:
    """Each schedule is a function of its seed; who plays it does not matter."""
    one, two = run_all(500, 52, processes=1), run_all(500, 52, processes=2)
    assert (one.schedules, one.seen, one.deviation) == (two.schedules, two.seen, two.deviation)


def test_time_ends_a_run_behind_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was played is every seed up to one, and enough to have seen everything."""
    monkeypatch.setattr(running, "ENOUGH", 60)
    whole, cut = run_all(500, 75, processes=1), run_all(500, 150, processes=2, seconds_max=0)
    assert (cut.schedules, cut.seen) == (whole.schedules, whole.seen)


def test_a_failing_schedule_is_made_short() -> None:
    """What is left breaks the same invariant, can be written down, and read again."""
    name = "no announcements"
    caught = hunt(name, 0, HUNTED, to_the_end=False)
    schedule = draw(caught.first_seed)
    with planted.BUGS[name].planted():
        short = shrink(schedule, tries=200)
        assert run(short).violation == run(schedule).violation != ""
    assert len(short.events) < STEPS // 4
    assert parsed(told(short).splitlines()[1:]) == short.events


def test_a_run_that_saw_nothing_is_no_proof() -> None:
    """Every fault, class, crash point and action must have happened in a run of some length."""
    empty = Summary(schedules=Counter(join=ENOUGH))
    assert missing(empty) == list(SOMETIMES)
    assert missing(Summary(schedules=Counter(join=ENOUGH - 1))) == []
    assert len(empty.faults) == len(SOMETIMES)


def test_the_command_tells_what_was_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates per core, invariants, what was seen; exit 0 when all is well."""
    command = ["simulation", "--seed", "7", "--schedules", "4", "--processes", "1"]
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 0
    said = capsys.readouterr().out
    assert "4 schedules, 0 broke an invariant" in said
    assert "crash: emit" in said
