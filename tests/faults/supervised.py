"""All roles under one supervisor, which must outlive a broker that is away for long."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.faults.rows import Row
from tests.faults.scene import Member, Orders, Scene
from tests.faults.stage import Stage
from tidegate.agents.roles import ROLES
from tidegate.infra.brokers import LocalBroker

_AWAY_SECONDS = 30.0
_DRAIN_SECONDS = 30.0


class SupervisedScene(Scene):
    """The worker is `tidegate worker`: every role in a process of its own."""

    role = "worker"

    def begin(self, orders: Orders | None = None) -> Member:
        """The supervisor with its roles, and services; returns it."""
        member = self.start()
        self._freshness.start()
        self._traffic.start()
        self.recover(self.now(), noted=False)
        return member

    def start(self, role: str = "", orders: Orders | None = None) -> Member:
        """A supervisor, or the role that is named alone."""
        if role not in ("", self.role):
            return super().start(role, orders)
        member = Member(self.role, self._world.start(self.role, ("tidegate",)))
        self.members.append(member)
        return member

    def _stop_time(self) -> None:
        """Everybody drains; what is left of the logs is read by a joiner alone."""
        (supervisor,) = self.workers()
        self.send(supervisor, signal.SIGTERM)
        code = supervisor.process.wait(_DRAIN_SECONDS)
        if code:
            self.row.failures.append(f"the supervisor drained with {code}")
        self.start("joiner")


def roles_of(supervisor: Member) -> list[int]:
    """Processes of the roles that a supervisor runs now."""
    return [
        process
        for process in _children(supervisor.process.pid)
        if b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    ]


def _children(process: int) -> list[int]:
    told = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(each) for each in told.split()]


def outlives(stage: Stage, row: Row, times: int) -> None:
    """The broker dies, then every role, by SIGKILL; the broker is back after half a minute.

    Roles cannot start meanwhile. Recovery is from the return of the broker.
    """
    draw = stage.draw(row.name)
    with LocalBroker() as broker, stage.scene(row, broker, kind=SupervisedScene) as scene:
        supervisor = scene.begin()
        for _ in range(times):
            scene.rest(draw.uniform(2.0, 4.0))
            scene.wait(lambda: len(roles_of(supervisor)) == len(ROLES), "all roles", 60.0)
            broker.kill()
            for role in roles_of(supervisor):
                os.kill(role, signal.SIGKILL)
            scene.rest(_AWAY_SECONDS)
            broker.restart()
            scene.recover(scene.now())
            row.times += 1
        absent = len(scene.lines("ended with 3 and is started again"))
        row.notes.append(f"{absent} starts without a broker")
        if row.ended or not absent:
            row.failures.append("the supervisor ended, or no role was started without a broker")
