"""All faults, in one table."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults.brokers import one_of_three, restarted
from tests.faults.crash_points import POINTS
from tests.faults.crowds import storm, zombies
from tests.faults.deciders import DECIDER_POINTS, deciders_die, rollbacks_die
from tests.faults.disks import full
from tests.faults.failures import idle, poisoned, silent
from tests.faults.groups import group_errors
from tests.faults.joining import JOIN_GROUP, SYNC_GROUP, alone, never_joined
from tests.faults.kills import kill_at
from tests.faults.rights import revoked
from tests.faults.rows import Row
from tests.faults.serving import away
from tests.faults.silences import SILENCES
from tests.faults.stage import Fault, Stage
from tests.faults.supervised import outlives
from tests.faults.wires import reset, unreachable
from tests.faults.zombies import routing, snapshots

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
    *(_kill(point) for point, place in POINTS.items() if not place.decides),
    *(deciders_die(point, _KILLS) for point in DECIDER_POINTS),
    Fault("decider rollback", "SIGKILL of the decider as it rolls back", 50, rollbacks_die),
    Fault("zombie", "SIGSTOP, a takeover, SIGCONT; two workers", 10, zombies),
    Fault("storm", "a worker starts or stops every 5 s", 60, storm),
    Fault("broker", "SIGKILL to the only broker, back after 3 s", 10, restarted),
    Fault("supervisor", "SIGKILL to the broker, for 30 s, and to all roles", 3, outlives),
    Fault("serving", "Kafka is away for 60 s, a candidate breaks meanwhile", 1, away),
    Fault("leaders", "SIGKILL to one of three brokers; leaders move, and back", 9, one_of_three),
    unreachable("wire 1 s", 1.0, 10),
    unreachable("wire 30 s", 30.0, 3),
    unreachable("wire 5 min", 300.0, 1),
    Fault("reset", "all connections of the workers are reset", 20, reset),
    Fault("snapshots", "a zombie ends a checkpoint late, then compaction", 14, snapshots),
    Fault("routing", "a zombie repeats routing tables, then compaction", 10, routing),
    Fault("disk", "the broker's disk is full for 10 s", 3, full),
    Fault("rights", "a right of the workers is revoked for 5 s", 9, revoked),
    Fault("poison", "the fold raises, ten kinds of exception", 20, poisoned),
    Fault("group", "SyncGroup, JoinGroup and Heartbeat errors", 24, group_errors),
    *(silent(silence, 3) for silence in SILENCES),
    never_joined("silent join", JOIN_GROUP, 3),
    never_joined("silent sync", SYNC_GROUP, 3),
    Fault("alone", "no broker answers a worker that joins, for 4.5 minutes", 1, alone),
    Fault("idle", "minutes without an event", 60, idle),
)
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
