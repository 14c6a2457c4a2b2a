"""Several workers: zombies that come back after a takeover, and a storm of rebalances."""

from __future__ import annotations

import signal

from tests.faults.rows import Row
from tests.faults.scene import Member, Scene
from tests.faults.stage import Stage

_STORM_SECONDS = 5.0
_WORKERS_MAX = 4
_AFTERLIFE_SECONDS = 2.0


def zombies(stage: Stage, row: Row, times: int) -> None:
    """SIGSTOP until somebody else has taken over, then SIGCONT; the two workers take turns.

    Recovery is from the SIGSTOP, so it holds the session time-out; the return of the zombie must
    not hold anything up.
    """
    draw = stage.draw(row.name)
    returns = []
    with stage.scene(row) as scene:
        pair = [scene.begin(), scene.start()]
        for number in range(times):
            scene.rest(draw.uniform(3.0, 5.0))
            zombie = pair[number % 2]
            stopped_at = scene.send(zombie, signal.SIGSTOP)
            scene.recover(stopped_at)
            scene.rest(draw.uniform(0.0, _AFTERLIFE_SECONDS))
            returned_at = scene.send(zombie, signal.SIGCONT)
            returns.append(scene.recover(returned_at, noted=False))
            row.times += 1
    row.notes.append(f"after the return at most {max(returns, default=0):.1f} s")
    if not row.copies:
        row.failures.append("no zombie wrote anything")


def storm(stage: Stage, row: Row, times: int) -> None:
    """A worker starts or stops every five seconds, by SIGTERM or SIGKILL; nobody waits for peace.

    Recovery is looked up afterwards: from each start or stop to the next facts of all partitions.
    """
    draw = stage.draw(row.name)
    with stage.scene(row) as scene:
        scene.begin()
        moments = []
        for _ in range(times):
            workers = scene.workers()
            grows = len(workers) < _WORKERS_MAX and (len(workers) == 1 or draw.random() < 0.5)
            if grows:
                scene.start()
                moments.append(scene.now())
            else:
                moments.append(_stop(scene, draw.choice(workers), draw.random() < 0.5))
            row.times += 1
            scene.rest(_STORM_SECONDS)
        scene.recover(scene.now(), noted=False)
        for moment in moments:
            scene.recovered(moment)
    moved = len(scene.lines("partition taken over"))
    row.notes.append(f"{moved} partitions taken over")


def _stop(scene: Scene, worker: Member, politely: bool) -> float:
    return scene.send(worker, signal.SIGTERM if politely else signal.SIGKILL)
