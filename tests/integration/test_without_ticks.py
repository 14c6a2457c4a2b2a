"""An hour of traffic while nobody ticks, on real Kafka: nothing lost, nothing closed early."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents.waiting import wait_for
from tests.integration.world import PATIENCE_SECONDS, World
from tidegate.agents.hosting.snapshots import decode_manifest
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics
from tidegate.infra.brokers import Broker
from tidegate.schemas.codec import encode
from tidegate.schemas.errors import Unreachable
from tidegate.schemas.events import Outcome, Prediction
from tidegate.schemas.marks import tick_headers
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.topics import merged_topics
from tidegate.streams.folding import CUT_RECORDS

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1800)]

HOUR_MS = 3_600_000
REWARD_WAIT_MS = 1_800_000
REQUESTS = CUT_RECORDS + 20_000
"""Of one partition, so that a cut comes inside the only interval there is."""
OUTCOME_EVERY = 10
MEMORY_BYTES_MAX = 600_000_000


def send_an_hour(settings: Settings, begin_ms: int) -> None:
    """One tick everywhere, then requests over an hour, each tenth with its outcome."""
    producer = new_producer(settings, {"queue.buffering.max.messages": 1_000_000})
    for topic in merged_topics("joiner"):
        name = settings.topic(topic.name)
        producer.produce(name, None, partition=0, headers=tick_headers(begin_ms))
    producer.flush(20)
    for number in range(REQUESTS):
        at_ms = begin_ms + number * HOUR_MS // REQUESTS
        request_id = f"request-{number}"
        prediction = Prediction(
            request_id=request_id, unit_id="u", served_at=at_ms, propensity=0.5, score=0.5,
            latency_ms=1.0, experiment="ranker", generation=1, variant="a", served_variant="a",
            model="m", model_version="1", routing_epoch=0, routing_version=1, reason="split",
            reward_wait_ms=REWARD_WAIT_MS, status="OK",
        )  # fmt: skip
        key = request_id.encode()
        name = settings.topic("predictions")
        producer.produce(name, encode(prediction), key=key, partition=0, timestamp=at_ms)
        if number % OUTCOME_EVERY == 0:
            outcome = Outcome(
                request_id=request_id, outcome_id="o", value=1.0, occurred_at=at_ms + 60_000,
                metric="click",
            )  # fmt: skip
            name = settings.topic("outcomes")
            producer.produce(name, encode(outcome), key=key, partition=0, timestamp=at_ms + 60_000)
        if number % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def told(settings: Settings) -> Counter[str]:
    """Facts by kind so far; each batch once."""
    facts: Counter[str] = Counter()
    seen = set()
    for record in read_topic(settings, "observations"):
        if record.value is not None:
            batch = decode_observation(record.value)
            place = (record.partition, batch.sequence)
            if place not in seen:
                seen.add(place)
                facts.update(
                    {kind: batch.count(kind) for kind in ("exposure", "matched", "closed")}
                )
    return facts


def checkpointed(settings: Settings) -> int:
    """How many records the highest checkpoint covers."""
    try:
        manifests = [decode_manifest(it.value or b"") for it in read_topic(settings, "snapshots")]
    except Unreachable:
        return 0
    return max((it.released for it in manifests if it is not None), default=0)


def peak_bytes(pid: int) -> int:
    """The most memory a process has had."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1_024


def test_an_hour_of_traffic_without_ticks(local_kafka: Broker, tmp_path: Path) -> None:
    """No request closes and no time passes; a checkpoint is taken inside the interval, and a kill
    -9 goes on from it; memory is that of what is open. When a ticker comes (and announces the
    jump), every outcome has met its request, and the outputs are those of a calm fold."""
    settings = replace(
        Settings().with_bootstrap(local_kafka.bootstrap),
        prefix=f"hour-{uuid.uuid4().hex[:8]}.", state_dir=tmp_path / "state",
        partitions=1, decision_partitions=1, checkpoint_seconds=1.0,
        checkpoint_records=CUT_RECORDS // 2, session_timeout_seconds=6.0,
    )  # fmt: skip
    apply_topics(settings, local_kafka)
    begin_ms = time.time_ns() // 1_000_000 - HOUR_MS - 60_000
    send_an_hour(settings, begin_ms)
    with World(settings, tmp_path / "log") as world:
        worker = world.start("joiner")
        wait_for(lambda: checkpointed(settings) >= CUT_RECORDS, PATIENCE_SECONDS)
        worker.kill()
        worker.wait()
        # A full batch need not wait for a tick; what it tells of is answers alone.
        facts = told(settings)
        assert facts["exposure"] > 0
        assert (facts["matched"], facts["closed"]) == (0, 0)

        worker = world.start("joiner")
        world.await_takeovers(2)
        assert int(str(world.lines("partition taken over")[-1]["released"])) >= CUT_RECORDS
        ticker = world.start("ticker")
        outcomes = len(range(0, REQUESTS, OUTCOME_EVERY))
        wait_for(lambda: told(settings)["matched"] == outcomes, PATIENCE_SECONDS)
        wait_for(lambda: told(settings)["closed"] > 0, PATIENCE_SECONDS)
        ticker.kill()
        ticker.wait()
        found = world.findings()
        assert (found.missing, found.unknown, found.unequal) == (0, 0, 0), found
        assert peak_bytes(worker.pid) < MEMORY_BYTES_MAX
    facts = told(settings)
    assert facts["exposure"] == REQUESTS
    # Those of the last half hour are still open: their time has not come.
    assert 0.4 * REQUESTS < facts["closed"] < 0.6 * REQUESTS
