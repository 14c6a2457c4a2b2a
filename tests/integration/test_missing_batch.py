"""A batch that never arrived while a later one did, in a real decider on a real broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents.waiting import wait_for
from tests.integration.world import PATIENCE_SECONDS, World
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import Command
from tidegate.schemas.facts import ObservationBatch, encode_observation
from tidegate.schemas.marks import tick_headers
from tidegate.schemas.topics import merged_topics
from tidegate.streams.deciding.sequences import GAP_ALARM_MS

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1800)]

BEGIN_MS = 1_700_000_000_000


class Log:
    """What a joiner and a ticker would write; time is what the test says."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = new_producer(settings)
        self._now_ms = BEGIN_MS

    def tick(self, *spans_ms: int) -> None:
        """Time goes on in every merged partition."""
        for span_ms in spans_ms:
            self._now_ms += span_ms
            for topic in merged_topics("decider"):
                for partition in range(self._settings.partition_count(topic)):
                    self._producer.produce(
                        self._settings.topic(topic.name), None, partition=partition,
                        headers=tick_headers(self._now_ms),
                    )  # fmt: skip
        assert self._producer.flush(20) == 0

    def batches(self, numbers: Sequence[int]) -> None:
        """Empty batches of source partition 0 for partition 0."""
        for number in numbers:
            batch = ObservationBatch(0, 0, number, "e", self._now_ms, (0, 0, 0))
            self._producer.produce(
                self._settings.topic("observations"), encode_observation(batch), partition=0
            )
        assert self._producer.flush(20) == 0


def alerts(settings: Settings) -> list[str]:
    """What the deciders of partition 0 raised alarms about; once each, however often told."""
    found = []
    for record in read_topic(settings, "commands", [0]):
        if record.value is not None:
            command = decode_as(Command, record.value)
            if command.kind == "ALERT" and command.reason not in found:
                found.append(command.reason)
    return found


def batches_read(world: World, reading: str) -> float:
    """How many batches the newest decider has read so, in partition 0."""
    labels = {"stream": "batch", "class": reading, "partition": "0"}
    return world.metric("tidegate_counted_total", "decider", **labels)


def test_a_missing_batch_holds_up_its_source_raises_an_alarm_and_heals(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    """The later one is dropped without advancing; ten seconds of log time raise one alarm that
    names source and number; when both come (again), it goes on. A kill -9 changes nothing."""
    settings = replace(kafka_settings, session_timeout_seconds=6.0, checkpoint_seconds=1.0)
    log = Log(settings)
    log.tick(0, 100)
    log.batches([0, 2])
    log.tick(*[1_000] * (GAP_ALARM_MS // 1_000 - 1))
    with World(settings, tmp_path / "log") as world:
        decider = world.start("decider")
        wait_for(lambda: batches_read(world, "gap") == 1, PATIENCE_SECONDS)
        assert batches_read(world, "next") == 1
        log.tick(500)
        assert alerts(settings) == []
        log.tick(1_000, 1_000, 1_000)
        wait_for(lambda: len(alerts(settings)) == 1, PATIENCE_SECONDS)
        assert "source partition 0" in alerts(settings)[0]
        decider.kill()
        decider.wait()
        world.start("decider")
        log.batches([1, 2, 3])
        log.tick(*[1_000] * (2 * GAP_ALARM_MS // 1_000))
        wait_for(lambda: batches_read(world, "next") == 4, PATIENCE_SECONDS)
        assert batches_read(world, "gap") == 1
        assert len(alerts(settings)) == 1
