"""How much of `control` is read: all of a short one, of a long one what no table tells yet."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Producer, TopicPartition

from tests.agents.client.cluster import Decider
from tidegate.agents.client import history
from tidegate.agents.kafka import new_consumer
from tidegate.agents.settings import Settings
from tidegate.schemas.partitioner import partition_of

PLACE = partition_of(b"ranker", 4)


def starts(settings: Settings) -> dict[int, int]:
    """Offsets as a client would find them."""
    consumer = new_consumer(settings)
    try:
        return history.control_starts(consumer, settings, settings.decision_partitions)
    finally:
        consumer.close()


def test_a_short_log_is_read_whole(embedded_settings: Settings) -> None:
    """Up to 100,000 records nothing is skipped, whatever heartbeats say."""
    decider = Decider(embedded_settings)
    decider.control()
    decider.command(log_time="99999999999999")
    assert set(starts(embedded_settings).values()) == {OFFSET_BEGINNING}


@pytest.mark.kafka
def test_a_long_log_is_read_from_before_the_last_heartbeat(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older than the decider's log time and a margin: skipped. Without heartbeat: read whole."""
    monkeypatch.setattr(history, "WHOLE_RECORDS_MAX", 3)
    now = time.time_ns() // 1_000_000
    producer = Producer({"bootstrap.servers": kafka_settings.bootstrap, "linger.ms": 0})
    for minutes in (300, 200, 100, 70, 50, 0):
        producer.produce(
            kafka_settings.topic("control"), b"x", partition=PLACE, timestamp=now - minutes * 60_000
        )
    assert producer.flush(20) == 0
    assert starts(kafka_settings)[PLACE] == OFFSET_BEGINNING
    decider = Decider(kafka_settings)
    decider.command(log_time=str(now - 60 * 60_000))
    decider.command("DEPLOY")
    decider.command(log_time="nonsense")
    decider.write("commands", "", None)
    assert starts(kafka_settings)[PLACE] == 3
    decider.command(log_time=str(now + 10**9))
    assert starts(kafka_settings)[PLACE] == 5
    monkeypatch.setattr(history, "MARGIN_MS", -(10**9))
    assert starts(kafka_settings)[PLACE] == OFFSET_END
    consumer = new_consumer(kafka_settings)
    low, high = consumer.get_watermark_offsets(
        TopicPartition(kafka_settings.topic("control"), PLACE), timeout=10
    )
    consumer.close()
    assert (low, high) == (0, 6)
