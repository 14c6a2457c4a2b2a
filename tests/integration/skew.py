"""`python -m tests.integration.skew [RECORDS]`: one topic with a backlog, the others only ticked.

A joiner meets RECORDS (a million) predictions at once, while of shadow predictions there is
nothing and of outcomes little. Fetching pauses and resumes, memory stays bounded, and everything
is joined. With both fetchers.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from tests.integration.world import World
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics
from tidegate.infra.brokers import Broker, LocalBroker
from tidegate.schemas.codec import encode
from tidegate.schemas.events import Outcome, Prediction
from tidegate.schemas.marks import tick_headers
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.partitioner import partition_of
from tidegate.schemas.topics import merged_topics

BEGIN_MS = 1_700_000_000_000
PER_TICK = 2_000
TICK_MS = 100
REWARD_WAIT_MS = 1_000
OUTCOME_EVERY = 50
BUFFERED_RECORDS = 1_000
SECONDS_MAX = 600.0
FETCHERS = ("librdkafka", "aiokafka")


@dataclass(frozen=True, slots=True)
class Skewed:
    """What came of it; memory is the most the worker had, pauses what its fetcher counted."""

    fetcher: str
    closed: int
    matched: int
    peak_bytes: int
    pauses: int
    seconds: float


def new_input(broker: Broker, folder: Path) -> Settings:
    """Settings on fresh topics, with a small buffer, so that much must be held back."""
    settings = replace(
        Settings().with_bootstrap(broker.bootstrap),
        prefix=f"skew-{uuid.uuid4().hex[:8]}.", state_dir=folder / "state",
        buffered_records=BUFFERED_RECORDS, grace_ms=500, early_tolerance_ms=1_000,
        closed_memory_ms=2_000, emit_interval_ms=1_000, session_timeout_seconds=6.0,
    )  # fmt: skip
    apply_topics(settings, broker)
    return settings


def fill(settings: Settings, records: int) -> int:
    """The backlog; how many outcomes there are."""
    producer = new_producer(settings, {"queue.buffering.max.messages": 1_000_000})
    outcomes = 0
    silence = 10 * REWARD_WAIT_MS // TICK_MS
    for interval in range(records // PER_TICK + silence):
        now_ms = BEGIN_MS + interval * TICK_MS
        for topic in merged_topics("joiner"):
            for partition in range(settings.partitions):
                name = settings.topic(topic.name)
                producer.produce(name, None, partition=partition, headers=tick_headers(now_ms))
        first = interval * PER_TICK
        for number in range(first, min(first + PER_TICK, records)):
            outcomes += _send(settings, producer, number, now_ms)
        producer.poll(0)
        while len(producer) > 500_000:
            producer.poll(0.1)
    assert producer.flush(120) == 0
    return outcomes


def _send(settings: Settings, producer: object, number: int, now_ms: int) -> int:
    request_id = f"request-{number}"
    key = request_id.encode()
    place = {"key": key, "partition": partition_of(key, settings.partitions)}
    prediction = Prediction(
        request_id=request_id, unit_id="u", served_at=now_ms, propensity=0.5, score=0.5,
        latency_ms=1.0, experiment="ranker", generation=1, variant="a", served_variant="a",
        model="m", model_version="1", routing_epoch=0, routing_version=1, reason="split",
        reward_wait_ms=REWARD_WAIT_MS, status="OK",
    )  # fmt: skip
    _produce(producer, settings.topic("predictions"), encode(prediction), place)
    if number % OUTCOME_EVERY:
        return 0
    outcome = Outcome(
        request_id=request_id, outcome_id="o", value=1.0, occurred_at=now_ms, metric="click"
    )
    _produce(producer, settings.topic("outcomes"), encode(outcome), place)
    return 1


def _produce(producer: object, topic: str, value: bytes, place: dict[str, object]) -> None:
    producer.produce(topic, value, **place)  # type: ignore[attr-defined]  # confluent's is untyped


def play(made: Settings, fetcher: str, records: int, folder: Path) -> Skewed:
    """A joiner joins the backlog into topics of its own.

    Raises:
        AssertionError: it ended, or did not come to the end in time.
    """
    settings = replace(
        made, fetcher=fetcher, prefix=f"{made.prefix}{fetcher}.", input_prefix=made.prefix
    )
    apply_topics(settings)
    began = time.monotonic()
    with World(settings, folder / f"{fetcher}.log") as world:
        worker = world.start("joiner", extra={"TIDEGATE_INPUT_PREFIX": made.prefix})
        closed = matched = 0
        while closed < records:
            assert worker.poll() is None, world.log.read_text(encoding="utf-8")[-3_000:]
            assert time.monotonic() - began < SECONDS_MAX, f"{closed} of {records} closed"
            time.sleep(1.0)
            closed, matched = _facts(settings)
        seconds = time.monotonic() - began
        return Skewed(fetcher, closed, matched, _peak(worker.pid), _pauses(world), seconds)


def _facts(settings: Settings) -> tuple[int, int]:
    """Closed requests and matched outcomes told so far, each batch once."""
    seen: set[tuple[int, int, int]] = set()
    closed = matched = 0
    for record in read_topic(settings, "observations"):
        if record.value is None:
            continue
        batch = decode_observation(record.value)
        place = (record.partition, batch.source_partition, batch.sequence)
        if place not in seen:
            seen.add(place)
            closed += batch.count("closed")
            matched += batch.count("matched")
    return closed, matched


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1_024


def _pauses(world: World) -> int:
    return int(world.metric("tidegate_fetch_pauses_total"))


def main() -> None:
    """The long form, with a line for each fetcher."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as temporary, LocalBroker() as broker:
        folder = Path(temporary)
        made = new_input(broker, folder)
        sent = fill(made, wanted)
        for fetcher in FETCHERS:
            done = play(made, fetcher, wanted, folder)
            assert (done.closed, done.matched) == (wanted, sent), done
            sys.stdout.write(
                f"{fetcher:10}  {done.closed:,} requests closed once, {done.matched:,} of {sent:,}"
                f" outcomes joined, {done.peak_bytes / 1e6:.0f} MB at most, {done.pauses:,} pauses,"
                f" {done.seconds:.0f} s\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
