"""A live decider under the whole loop: SIGKILL between any two steps of deciding."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.crash_points import POINTS
from tests.faults.freshness import Freshness
from tests.faults.kills import kill_at
from tests.faults.orders import People, Service
from tests.faults.rows import Row
from tests.faults.scene import Member, Orders, Scene
from tests.faults.stage import Fault, Stage
from tests.faults.verdicts import DecisionJudge
from tidegate.agents.client import Client
from tidegate.agents.kafka import Record
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import Command, Decision

DECIDER_POINTS = (
    "restored", "folding", "producing", "decided", "tabled", "ordered", "acknowledged",
    "cut", "chunk", "flushed", "manifest", "announced", "committing",
)  # fmt: skip
"""At those of `crash_points.POINTS` deciders die: publishing, acknowledgements, checkpoints."""

ROLLBACK_POINTS = ("breached", "ordered", "obeyed", "withdrawn", "returned")
"""Between the breach of a guardrail and the table that obeys it, from first to last."""


class DecidedFreshness(Freshness):
    """When which log time was first told by decisions and heartbeats of each home partition."""

    topics = ("decisions", "commands")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.partitions = settings.decision_partitions

    def told(self, record: Record) -> Iterator[tuple[int, int]]:
        """(home partition, log time in ms)."""
        if record.topic.endswith("decisions"):
            yield record.partition, decode_as(Decision, record.value).decided_at
            return
        command = decode_as(Command, record.value)
        if command.kind == "HEARTBEAT":
            yield record.partition, int(command.arguments["log_time"])


class DecidingScene(Scene):
    """People give orders, services serve, a joiner joins; the decider is who dies."""

    role = "decider"

    def __init__(self, settings: Settings, folder: Path, row: Row, **options: Any) -> None:
        super().__init__(settings, folder, row, **options)
        self._freshness = DecidedFreshness(settings)
        self._people = People(settings)
        self._client: Client | None = None
        self._service: Service | None = None
        self._decisions = DecisionJudge(settings)

    def begin(self, orders: Orders | None = None) -> Member:
        """Everybody, and one decider that works; returns it."""
        self.start("ticker")
        self.start("joiner")
        self._freshness.start()
        decider = self.start(orders=orders)
        self._client = Client(settings=self.settings)
        self._service = Service(self._client, self._people.canaries)
        self._people.start()
        self._service.start()
        self.recover(time.time(), noted=False)
        return decider

    def _fall_silent(self) -> None:
        self._people.finish()
        if self._service is not None:
            self._service.finish()

    def _verdict(self) -> bool:
        return self._decisions.judge(self.row)

    def conclude(self) -> None:
        """As with joiners; rollbacks must have happened, by people and by guardrails."""
        super().conclude()
        by_people, by_guardrails = self._decisions.rollbacks
        self.row.notes.append(f"rollbacks: {by_people} by people, {by_guardrails} by guardrails")
        if not by_people or not by_guardrails:
            self.row.failures.append("nothing was rolled back by people, or by guardrails")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        super().__exit__(kind, *rest)
        if self._client is not None:
            self._fall_silent()
            self._client.close()


def deciders_die(point: str, times: int) -> Fault:
    """A row of its own for each point."""

    def play(stage: Stage, row: Row, times: int) -> None:
        with stage.scene(row, kind=DecidingScene) as scene:
            kill_at(scene, [point], times, stage.draw(row.name))

    return Fault(f"decider {point}", f"SIGKILL of the decider: {POINTS[point].what}", times, play)


def rollbacks_die(stage: Stage, row: Row, times: int) -> None:
    """The decider dies in the midst of rolling back, at each of the points in turn.

    The verdict counts: a breach is rolled back exactly once, on `control` and on `decisions`.
    """
    rounds = max(1, times // len(ROLLBACK_POINTS))
    with stage.scene(row, kind=DecidingScene) as scene:
        kill_at(scene, ROLLBACK_POINTS, rounds, stage.draw(row.name))
