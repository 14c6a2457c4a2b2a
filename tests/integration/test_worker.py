"""Whole worker processes on a broker: started, drained, killed, and what their readers see."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.agents.counting import JOINED, worker_process
from tests.agents.waiting import wait_for
from tidegate.agents.hosting.snapshots import decode_manifest
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.marks import Marker, marker_headers


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Checkpoints and sessions short enough for a test."""
    return replace(settings, checkpoint_seconds=1.0, session_timeout_seconds=6.0)


def send(settings: Settings, first: int, last: int) -> None:
    """One record of each merged topic of the joiner for each number."""
    producer = new_producer(settings)
    for number in range(first, last):
        for topic in JOINED:
            key = f"request-{number}".encode()
            producer.produce(settings.topic(topic.name), f"{topic.name}{number}".encode(), key=key)
    assert producer.flush(20) == 0


class Outputs:
    """What the counting role wrote, by (partition, sequence); duplicates held against the first."""

    def __init__(self, settings: Settings) -> None:
        self.distinct: dict[tuple[str, int], bytes] = {}
        self.duplicates = 0
        self.unequal = 0
        for record in read_topic(settings, "observations", [0]):
            if record.value is None or record.key is None:
                continue
            name = (record.key.decode(), json.loads(record.value)["sequence"])
            if name in self.distinct:
                self.duplicates += 1
                self.unequal += self.distinct[name] != record.value
            self.distinct.setdefault(name, record.value)

    @property
    def counted(self) -> int:
        """Records counted by the last output of each partition."""
        last: dict[str, dict[str, int]] = {}
        for (partition, _), value in sorted(self.distinct.items()):
            last[partition] = json.loads(value)["counts"]
        return sum(sum(counts.values()) for counts in last.values())

    @property
    def dense(self) -> bool:
        """Whether every partition's sequence runs from 0 without a hole."""
        found: dict[str, set[int]] = {}
        for partition, sequence in self.distinct:
            found.setdefault(partition, set()).add(sequence)
        return all(numbers == set(range(len(numbers))) for numbers in found.values())


def checkpoints(settings: Settings) -> list[tuple[int, int]]:
    """(partition, released) of every manifest in the topic that stands for some records."""
    found = []
    for record in read_topic(settings, "snapshots"):
        manifest = decode_manifest(record.value or b"")
        if manifest is not None and manifest.released:
            found.append((manifest.partition, manifest.released))
    return found


@pytest.mark.slow
def test_a_drained_worker_leaves_nothing_to_repeat(quick: Settings, tmp_path: Path) -> None:
    """SIGTERM: exit 0, and the next worker goes on without writing anything twice."""
    log = tmp_path / "log"
    with worker_process(quick, "ticker", log):
        send(quick, 0, 300)
        for total in (900, 1_800):
            with worker_process(quick, "joiner", log) as worker:
                wait_for(lambda total=total: Outputs(quick).counted == total)  # type: ignore[misc]
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(8) == 0, log.read_text()
            send(quick, 300, 600) if total == 900 else None
    outputs = Outputs(quick)
    assert outputs.dense
    assert outputs.duplicates == 0


@pytest.mark.slow
def test_a_killed_worker_repeats_the_same_bytes(quick: Settings, tmp_path: Path) -> None:
    """kill -9: nothing lost, nothing counted twice, and every duplicate equal to the first."""
    log = tmp_path / "log"
    with worker_process(quick, "ticker", log):
        with worker_process(quick, "joiner", log) as worker:
            send(quick, 0, 300)
            wait_for(lambda: len({partition for partition, _ in checkpoints(quick)}) == 4)
            send(quick, 300, 600)
            wait_for(lambda: Outputs(quick).counted == 1_800)
            worker.kill()
            worker.wait()
        send(quick, 600, 700)
        with worker_process(quick, "joiner", log) as worker:
            wait_for(lambda: Outputs(quick).counted == 2_100)
    restored = [json.loads(line) for line in log.read_text().splitlines() if "taken over" in line]
    outputs = Outputs(quick)
    assert sum(line["released"] > 0 for line in restored) == 4
    assert outputs.duplicates > 0
    assert outputs.unequal == 0
    assert outputs.dense


@pytest.mark.slow
def test_what_cannot_be_folded_stops_the_worker(quick: Settings, tmp_path: Path) -> None:
    """Exit 70 before the batch is acknowledged; a new worker meets it again."""
    log = tmp_path / "log"
    producer = new_producer(quick)
    producer.produce(quick.topic("outcomes"), b"poison", partition=0)
    producer.flush(10)
    with worker_process(quick, "ticker", log):
        for _ in range(2):
            with worker_process(quick, "joiner", log) as worker:
                assert worker.wait(40) == 70
    assert "poison" in log.read_text()


@pytest.mark.slow
def test_an_engine_barrier_stops_the_old_engine(quick: Settings, tmp_path: Path) -> None:
    """All is checkpointed at the barrier for the other engine; this one ends, and stays ended."""
    log = tmp_path / "log"
    headers = marker_headers(Marker("barrier", {"engine": "another"}))
    with worker_process(quick, "ticker", log), worker_process(quick, "joiner", log) as worker:
        send(quick, 0, 50)
        wait_for(lambda: Outputs(quick).counted == 150)
        producer = new_producer(quick)
        for partition in range(quick.partitions):
            for topic in JOINED:
                producer.produce(
                    quick.topic(topic.name), None, partition=partition, headers=headers
                )
        producer.flush(10)
        assert worker.wait(20) == 2
        with worker_process(quick, "joiner", log) as again:
            assert again.wait(40) == 2
    assert "start the version the barrier names" in log.read_text()


@pytest.mark.slow
def test_health_and_metrics_are_told(embedded_settings: Settings, tmp_path: Path) -> None:
    """A worker that works is green, and its counters count."""
    log = tmp_path / "log"
    settings = embedded_settings
    with worker_process(settings, "ticker", log), worker_process(settings, "joiner", log):
        send(settings, 0, 50)
        wait_for(lambda: Outputs(settings).counted == 150)
        line = next(
            json.loads(line)
            for line in log.read_text().splitlines()
            if "health and metrics" in line and '"joiner"' in line
        )
        address = line["message"].split()[-1]

        def green() -> bool:
            try:
                with urllib.request.urlopen(f"{address}/healthz") as answer:
                    return bool(json.load(answer) == {"status": "ok", "faults": []})
            except OSError:
                return False

        wait_for(green)
        with urllib.request.urlopen(f"{address}/metrics") as answer:
            text = answer.read().decode()
    assert 'tidegate_counted_total{class="counted",partition="0",stream="outcomes"}' in text
    assert "tidegate_healthy 1.0" in text


@pytest.mark.slow
@pytest.mark.kafka
def test_what_retention_ate_is_refused(kafka_settings: Settings, tmp_path: Path) -> None:
    """A checkpoint older than the log's beginning: exit 2, saying what is missing."""
    log = tmp_path / "log"
    settings = replace(kafka_settings, checkpoint_seconds=1.0, session_timeout_seconds=6.0)
    with worker_process(settings, "ticker", log):
        send(settings, 0, 50)
        with worker_process(settings, "joiner", log) as worker:
            wait_for(lambda: Outputs(settings).counted == 150)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(8) == 0
        send(settings, 50, 100)
        time.sleep(1)
        admin = AdminClient({"bootstrap.servers": settings.bootstrap})
        # -1: up to the end of the log.
        gone = TopicPartition(settings.topic("outcomes"), 0, -1)
        for future in admin.delete_records([gone]).values():
            future.result()
        with worker_process(settings, "joiner", log) as worker:
            assert worker.wait(40) == 2
    assert "retention has deleted everything before" in log.read_text()
