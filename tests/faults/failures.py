"""Workers that fail by themselves: exceptions in the fold, silences that the watchdog must find."""

from __future__ import annotations

import signal

from tests.faults.rows import Row
from tests.faults.scene import Scene
from tests.faults.silences import SILENCES
from tests.faults.stage import Fault, Stage
from tidegate.agents.failstop import EXIT_FAIL_STOP
from tidegate.agents.watchdog import EXIT_SECONDS, GROUP_EXIT_SECONDS

RAISED = (
    "ValueError", "KeyError", "MemoryError", "RecursionError", "AssertionError",
    "ZeroDivisionError", "OSError", "StopIteration", "TimeoutError", "CancelledError",
)  # fmt: skip
"""The last is none that an agent reports: only the watchdog finds what it leaves behind."""
SLACK_SECONDS = 120.0
AT_ONCE_SECONDS = 5.0
"""Within these a worker ends that notices by itself, without the watchdog."""
PATIENCE_SECONDS = max(EXIT_SECONDS, GROUP_EXIT_SECONDS)


def poisoned(stage: Stage, row: Row, times: int) -> None:
    """The fold raises behind a batch, another exception each time; recovery is from the end."""
    draw = stage.draw(row.name)
    with stage.scene(row) as scene:
        kinds = [RAISED[number % len(RAISED)] for number in range(times)]
        worker = scene.begin(_raising(kinds[0]))
        for coming in [*kinds[1:], ""]:
            scene.rest(draw.uniform(0.5, 2.0))
            scene.arm(worker)
            code, ended_at = scene.ended(worker, EXIT_SECONDS + SLACK_SECONDS)
            want_fail_stop(row, code)
            scene.rest_of_supervisor()
            worker = scene.start(orders=_raising(coming))
            scene.recover(ended_at)
            row.times += 1


def _raising(kind: str) -> dict[str, object]:
    return {"raises": kind} if kind else {}


def want_fail_stop(row: Row, code: int) -> None:
    """A worker that cannot go on ends with 70, which its supervisor starts again."""
    row.ended[code] += 1
    if code != EXIT_FAIL_STOP:
        row.failures.append(f"a worker ended with {code}")


def fall_silent(
    scene: Scene, silences: list[str], hasten: float = 1.0, *, begun: bool = False
) -> tuple[list[float], list[float]]:
    """Each silence once: found by the watchdog, the process ended, another one recovers.

    Returns after how long /healthz was red, where the process did not end at once, and after how
    long it ended; recovery is from the silence's beginning. In a scene that has begun, whoever
    works there is succeeded by the first to fall silent.
    """
    reddened, found = [], []
    for each in scene.workers():
        scene.send(each, signal.SIGKILL)
    start = scene.start if begun else scene.begin
    worker = start(orders=_silent(silences[0], hasten))
    if begun:
        scene.recover(scene.now(), noted=False)
    for coming in [*silences[1:], ""]:
        scene.rest(1.0)
        silent_at = scene.arm(worker)
        red_at = scene.red(worker, PATIENCE_SECONDS / hasten + SLACK_SECONDS)
        code, ended_at = scene.ended(worker, PATIENCE_SECONDS / hasten + SLACK_SECONDS)
        want_fail_stop(scene.row, code)
        found.append(ended_at - silent_at)
        if red_at is not None:
            reddened.append(red_at - silent_at)
        elif found[-1] > AT_ONCE_SECONDS:
            scene.row.failures.append(f"ended after {found[-1]:.1f} s and was healthy until then")
        scene.rest_of_supervisor()
        worker = scene.start(orders=_silent(coming, hasten))
        scene.recover(silent_at)
        scene.row.times += 1
    return reddened, found


def _silent(silence: str, hasten: float) -> dict[str, object]:
    return {"silence": silence, "hasten": hasten} if silence else {}


def silent(silence: str, times: int) -> Fault:
    """A row of its own for each silence, with the watchdog's real patience."""

    def play(stage: Stage, row: Row, times: int) -> None:
        with stage.scene(row) as scene:
            reddened, found = fall_silent(scene, [silence] * times)
            red = f"red after at most {max(reddened):.1f} s, " if reddened else ""
            row.notes.append(f"{red}ended after at most {max(found):.1f} s")

    return Fault(f"silent {silence}", SILENCES[silence].what, times, play)


def idle(stage: Stage, row: Row, times: int) -> None:
    """Nothing but ticks for `times` minutes: no worker ends, and then it works at once."""
    with stage.scene(row) as scene:
        worker = scene.begin()
        scene.quiet()
        for _ in range(times):
            scene.rest(60.0)
            scene.recover(scene.now())
            row.times += 1
        scene.speak()
        scene.rest(3.0)
        if worker.process.poll() is not None or row.ended:
            row.failures.append("a worker ended while idle")
