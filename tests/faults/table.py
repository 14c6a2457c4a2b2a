"""All faults, in one table."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults.crash_points import POINTS
from tests.faults.kills import kill_at
from tests.faults.rows import Row
from tests.faults.stage import Fault, Stage

_KILLS = 10
_LOOKS = 20


def _calm(stage: Stage, row: Row, times: int) -> None:
    """Nothing happens: what the clock of recovery shows by itself."""
    draw = stage.draw(row.name)
    with stage.scene(row) as scene:
        worker = scene.begin()
        for _ in range(times):
            scene.rest(draw.uniform(0.2, 1.0))
            scene.recover(scene.now())
            row.times += 1
        assert worker.process.poll() is None


def _kill(point: str) -> Fault:
    def play(stage: Stage, row: Row, times: int) -> None:
        with stage.scene(row) as scene:
            kill_at(scene, [point], times, stage.draw(row.name))

    return Fault(f"kill {point}", f"SIGKILL: {POINTS[point].what}", _KILLS, play)


_ALL = (
    Fault("calm", "nothing, for comparison", _LOOKS, _calm),
    *(_kill(point) for point in POINTS),
)
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
