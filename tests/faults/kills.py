"""SIGKILL at named points of a worker's work."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence

from tests.faults.crash_points import POINTS
from tests.faults.scene import Member, NotRecovered, Scene

_PASSES_MAX = 20
_POINT_SECONDS = 300.0


def kill_at(scene: Scene, points: Sequence[str], times: int, draw: random.Random) -> None:
    """Each point `times` times: the worker dies there, another takes over and gets the next.

    The pass at which it dies is drawn, so that it is now the first fetch behind a checkpoint and
    now any other. Recovery is from the death to fresh facts of all partitions: the second that a
    supervisor waits, the start of Python, and the rest of the way.
    """
    plan = [point for _ in range(times) for point in points]
    worker = scene.begin(_orders(plan[0], draw))
    for point, coming in zip(plan, [*plan[1:], ""], strict=True):
        if POINTS[point].starting:
            scene.send(worker, signal.SIGKILL)
            worker = scene.start(orders={**_orders(point, draw), "armed": True})
        else:
            scene.rest(draw.uniform(0.0, 1.5))
            scene.arm(worker)
            if POINTS[point].moves:
                scene.start()
        died_at = _await_death(scene, worker, point)
        others = scene.workers()
        scene.rest_of_supervisor()
        worker = scene.start(orders=_orders(coming, draw))
        scene.row.times += 1
        scene.recover(died_at)
        for other in others:
            # The next one to die must have partitions to lose.
            scene.recover(scene.send(other, signal.SIGTERM), noted=False)
    went_on = [line for line in scene.lines("partition taken over") if line["segments"]]
    if scene.role == "joiner" and not went_on:
        scene.row.failures.append("nobody went on from a checkpoint with segments")


def _await_death(scene: Scene, worker: Member, point: str) -> float:
    code, at = scene.ended(worker, _POINT_SECONDS)
    if code != -signal.SIGKILL:
        raise NotRecovered(f"a worker that should die at {point} ended with {code}")
    return at


def _orders(point: str, draw: random.Random) -> dict[str, object]:
    if not point:
        return {}
    return {
        "point": point,
        "passes": 1 if POINTS[point].rare else draw.randrange(1, _PASSES_MAX),
    }
