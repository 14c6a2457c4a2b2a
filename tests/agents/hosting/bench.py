"""A host of counting folds over fake producers, and logs to feed it with."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from tests.agents.counting import CountingHandler
from tests.agents.hosting.fakes import FakeProducer, raise_stop
from tests.streams.logs import Log, fetch
from tidegate.agents.hosting import host as host_module
from tidegate.agents.hosting.checkpoints import Checkpoints
from tidegate.agents.hosting.host import Host
from tidegate.agents.hosting.partitions import Watermarks
from tidegate.agents.hosting.publisher import Publisher
from tidegate.agents.hosting.restore import Restored
from tidegate.agents.hosting.snapshots import decode_manifest, read_key
from tidegate.agents.settings import Settings
from tidegate.schemas.marks import Marker, Tick
from tidegate.schemas.topics import merged_topics

SETTINGS = Settings(checkpoint_seconds=1e9, buffered_records=100)
TOPICS = tuple(SETTINGS.topic(topic.name) for topic in merged_topics("joiner"))
NOTHING = Restored(None, None, (), ())


def indexes(*partitions: int) -> set[tuple[str, int]]:
    """All merged topics of these partition indexes."""
    return {(topic, partition) for topic in TOPICS for partition in partitions}


class Bench:
    """A host of counting folds over fake producers; what logs and topic hold can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, engine: str = "e1") -> None:
        self.outputs, self.snapshots = FakeProducer(), FakeProducer()
        self.outputs.at_once = self.snapshots.at_once = True
        self.publisher = Publisher(SETTINGS, "joiner", raise_stop, self.outputs)
        self.checkpoints = Checkpoints(
            SETTINGS, "joiner", engine, self.publisher, fail=raise_stop, producer=self.snapshots
        )
        self.restored = NOTHING
        self.held = Watermarks((0, 0, 0), (0, 0, 0))
        self.loads = 0
        monkeypatch.setattr(host_module, "restore", self._restore)
        monkeypatch.setattr(host_module, "read_watermarks", lambda *_: self.held)
        self.host = Host(
            SETTINGS,
            "joiner",
            engine,
            make_handler=CountingHandler,
            publisher=self.publisher,
            checkpoints=self.checkpoints,
            fail=raise_stop,
        )

    def _restore(self, *_: object) -> Restored:
        self.loads += 1
        return self.restored

    def assign(self, partitions: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """What the transport does after a rebalance."""
        return dict(asyncio.run(self.host.assign(partitions)))

    def manifests(self) -> list[tuple[int, str]]:
        """(released, barrier) of each checkpoint announced."""
        found = []
        for _, value, arguments in self.snapshots.records:
            name = read_key(arguments["key"])
            if value is not None and name is not None and name[3] is None:
                manifest = decode_manifest(value)
                assert manifest is not None
                found.append((manifest.released, manifest.barrier))
        return found


def log_of(*ticks_ms: int) -> Log:
    """A log with one record after each tick."""
    return [record for at_ms in ticks_ms for record in (Tick(at_ms), b"x")]


def feed_logs(bench: Bench, partition: int, log: Log) -> None:
    """The same log for each topic, from where each one stands."""
    for rank, topic in enumerate(TOPICS):
        first = bench.host.partitions[partition].fold.merge.fetch_offsets[rank]
        bench.host.feed(topic, partition, fetch(log, first, len(log) - first))


def barrier_log(engine: str) -> Log:
    """A log with an engine barrier inside its first interval, and more after it."""
    return [
        Tick(1_000),
        b"x",
        Marker("barrier", {"engine": engine}),
        Tick(1_100),
        b"x",
        Tick(1_200),
    ]
