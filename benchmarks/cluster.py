"""A real Apache Kafka for a benchmark: pinned to its own core, filled, read back."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.workload import OUTCOME_DELAY_MS_MAX, Produced, Workload
from tidegate.agents.kafka import new_admin, new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics
from tidegate.infra.brokers import LocalBroker
from tidegate.schemas.facts import ObservationBatch
from tidegate.schemas.marks import tick_headers
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.topics import TOPICS, merged_topics

BROKER_CORE, WORKER_CORE = 1, 0
TICK_MS = 100
_RESULT = "RESULT "
_STDOUT = 1
"""By number: Faust puts something else in the place of `sys.stdout`."""


@dataclass(slots=True)
class Cluster:
    """Settings for a running broker, and a folder for what is left behind."""

    settings: Settings
    folder: Path


@contextmanager
def cluster(prefix: str = "bench.", **overrides: Any) -> Iterator[Cluster]:
    """Start Apache Kafka on `BROKER_CORE`, with all topics of the table."""
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        with pinned(BROKER_CORE):
            broker = LocalBroker()
        with broker:
            settings = Settings(
                prefix=prefix, state_dir=Path(folder), instance_id="bench", **overrides
            ).with_bootstrap(broker.bootstrap)
            apply_topics(settings)
            yield Cluster(settings, Path(folder))


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes started inside inherit one core; with a single core there is nothing to pin."""
    before = os.sched_getaffinity(0)
    if core in before:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def prefill(
    settings: Settings, workload: Workload, only: Sequence[str] = tuple(TOPICS)
) -> None:
    """Write events of the topics `only`, and ticks, so that the last event has just come.

    Every partition of every merged topic gets a tick each `TICK_MS` of the events' time, the
    last one behind all events, so that a joiner can release everything.
    """
    producer = new_producer(settings, {"linger.ms": 20, "compression.type": "lz4",
                                       "queue.buffering.max.messages": 500_000})  # fmt: skip
    begin_ms = time.time_ns() // 1_000_000 - workload.length_ms - 2 * OUTCOME_DELAY_MS_MAX
    tick_ms = begin_ms - TICK_MS
    for event in replace(workload, begin_ms=begin_ms).produced():
        while event.time_ms >= tick_ms:
            _tick(producer, settings, tick_ms)
            tick_ms += TICK_MS
        if event.topic in only:
            _produce(producer, settings.topic(event.topic), event)
    for _ in range(2):
        _tick(producer, settings, tick_ms)
        tick_ms += TICK_MS
    producer.flush()


def _produce(producer: Producer, topic: str, event: Produced) -> None:
    while True:
        try:
            producer.produce(topic, event.value, event.key, timestamp=event.time_ms)
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def _tick(producer: Producer, settings: Settings, log_time_ms: int) -> None:
    headers = list(tick_headers(log_time_ms))
    for topic in merged_topics("joiner"):
        for partition in range(settings.partition_count(topic)):
            producer.produce(
                settings.topic(topic.name), None, partition=partition, headers=headers,
                timestamp=log_time_ms,
            )  # fmt: skip
    producer.poll(0)


@dataclass(frozen=True, slots=True)
class Run:
    """What a program said of its run, from its first event to its last; starting is not in it.

    `seconds` on the clock, `cpu_seconds` of processor time, all threads; `pairs` joined, -1 when
    it does not say. `load` is the machine's load average before it.
    """

    events: int
    seconds: float
    cpu_seconds: float
    memory_mb: float
    pairs: int
    load: float

    @property
    def per_second(self) -> float:
        """Events per second on the clock."""
        return self.events / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Events per second of processor time: the same on a machine that does nothing else."""
        return self.events / self.cpu_seconds


class Stopwatch:
    """Measures a program's work, in the program."""

    def __init__(self) -> None:
        self._began = (0.0, 0.0)
        self._ended = (0.0, 0.0)

    def work(self) -> None:
        """Something is being done now, for the first time perhaps."""
        now = time.time(), time.process_time()
        if not self._began[0]:
            self._began = now
        self._ended = now

    def say(self, events: int, pairs: int = -1) -> None:
        """Print the result, for `run_program`."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        document = {
            "events": events,
            "seconds": self._ended[0] - self._began[0],
            "cpu_seconds": self._ended[1] - self._began[1],
            "memory_mb": usage.ru_maxrss / 1_024,
            "pairs": pairs,
        }
        os.write(_STDOUT, (_RESULT + json.dumps(document) + "\n").encode())


def run_program(
    command: Sequence[str], environment: Mapping[str, str], log: Path, limit_seconds: float
) -> Run:
    """Run a program on `WORKER_CORE` until it ends; it prints one line `RESULT {...}`.

    Raises:
        RuntimeError: it said nothing in time; its log is quoted.
    """
    load = os.getloadavg()[0]
    with log.open("wb") as errors, pinned(WORKER_CORE):
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    lines = [row for row in said.splitlines() if row.startswith(_RESULT)]
    if not lines:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
        raise RuntimeError(f"{command[-1]} ended with {process.returncode}:\n{tail}")
    return Run(**json.loads(lines[-1].removeprefix(_RESULT)), load=load)


def read_observations(settings: Settings) -> Iterator[ObservationBatch]:
    """All batches of `observations`, each sequence once, whoever wrote it how often."""
    seen: set[tuple[int, int, int]] = set()
    for record in read_topic(settings, "observations"):
        if record.value is None:
            continue
        batch = decode_observation(record.value)
        place = (batch.source_partition, batch.partition, batch.sequence)
        if place not in seen:
            seen.add(place)
            yield batch


def count_pairs(settings: Settings) -> int:
    """Shadow predictions and outcomes that `observations` tells as joined."""
    return sum(
        batch.count("shadow") + batch.count("matched") for batch in read_observations(settings)
    )


def fresh_topics(settings: Settings, names: Sequence[str]) -> None:
    """Empty some topics by making them anew."""
    admin = new_admin(settings)
    for future in admin.delete_topics([settings.topic(name) for name in names]).values():
        future.result(30)
    # A broker acknowledges a deletion before the name is free.
    time.sleep(1)
    apply_topics(settings)


@contextmanager
def flood(settings: Settings) -> Iterator[None]:
    """Produce as fast as a process on the worker's core can: more than any joiner joins there."""
    with pinned(WORKER_CORE):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.flood", settings.bootstrap, settings.prefix],
            stdin=subprocess.PIPE,
        )  # fmt: skip
    try:
        time.sleep(5)
        yield
    finally:
        process.kill()
        process.wait()
