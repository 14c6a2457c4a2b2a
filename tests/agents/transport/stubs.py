"""A batch consumer without a broker: its thread answers from a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from faust.types import TP

from tests.agents.transport.recording import RecordingFlow
from tests.agents.transport.test_fetched import Record
from tests.agents.transport.workers import raising
from tidegate.agents.app import WorkerApp, build_app
from tidegate.agents.settings import Settings
from tidegate.agents.transport import BatchConsumer

TOPICS = ["x.a", "x.b"]
HERE = TP("x.a", 0)
THERE = TP("x.b", 0)


class StubThread:
    """Stands for aiokafka: what is assigned, what the next fetches give, what was asked of it."""

    def __init__(self) -> None:
        self.assigned: set[TP] = {HERE, THERE}
        self.fetches: list[dict[TP, list[Record]] | Exception] = []
        self.asked: list[tuple[set[TP], float]] = []
        self.reads: list[tuple[dict[TP, int], bool]] = []
        self.commits: list[dict[TP, int]] = []
        self.rejoined = 0
        self.on_fetch: Any = None

    def assignment(self) -> set[TP]:
        """What the group assigned."""
        return self.assigned

    async def getmany(self, active: set[TP], timeout: float) -> Mapping[TP, list[Record]]:
        """The next fetch."""
        self.asked.append((set(active), timeout))
        found = self.fetches.pop(0) if self.fetches else {}
        if self.on_fetch is not None:
            self.on_fetch()
        if isinstance(found, Exception):
            raise found
        return found

    async def read_from(self, offsets: Mapping[TP, int], *, fetching: bool) -> None:
        """Note a seek."""
        self.reads.append((dict(offsets), fetching))

    async def rejoin(self) -> None:
        """Note that another deal was asked for."""
        self.rejoined += 1

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Note a commit."""
        self.commits.append(dict(offsets))
        return True


def records(first: int, count: int) -> list[Record]:
    """Dense records with values and keys."""
    return [Record(first + i, b"v%d" % i, key=b"k%d" % i) for i in range(count)]


def stub_consumer(
    flow: RecordingFlow, path: Path, fetcher: str = "aiokafka"
) -> tuple[WorkerApp, BatchConsumer, StubThread]:
    """App, consumer and its stub thread, as after a first assignment of generation 1."""
    settings = Settings(prefix="x.", fetcher=fetcher, state_dir=path)
    app = build_app(settings, "joiner", TOPICS, flow, raising)
    consumer = app.consumer
    consumer._thread.thread_loop.close()
    thread = consumer._thread = StubThread()
    app.topics._acking_topics.update(TOPICS)
    app.consumer_generation_id = 1
    consumer._set_active_tps(thread.assigned)
    return app, consumer, thread


async def take(consumer: BatchConsumer, rounds: int = 1) -> list[tuple[TP, Any]]:
    """What some rounds of fetching deliver."""
    return [each for _ in range(rounds) async for each in consumer.getmany(0.1)]


def offsets(delivered: Iterable[tuple[TP, Any]], tp: TP = HERE) -> list[int]:
    """Offsets of the delivered records of a topic-partition."""
    return [
        message.value.first_offset + index
        for place, message in delivered
        if place == tp
        for index in range(len(message.value.values))
    ]
