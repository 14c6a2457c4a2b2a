"""A small compressed batch that becomes very large, written to an input topic of a real Kafka."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.agents.waiting import wait_for
from tests.integration.test_truth_table import observations
from tests.integration.world import PATIENCE_SECONDS, World
from tests.streams.joining.traffic import outcome, prediction
from tidegate.agents.kafka import new_admin, new_consumer, new_producer, read_topic, watermarks
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import DeadLetter
from tidegate.schemas.marks import tick_headers
from tidegate.schemas.topics import merged_topics

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

RECORDS = 130
RECORD_BYTES = 1_000_000
"""Together more than the 100 MB that librdkafka takes as one answer of a broker."""


def bomb(settings: Settings, codec: str) -> KafkaError | None:
    """130 MB of zeros in one batch that the broker sees compressed; its answer."""
    producer = Producer({
        **settings.kafka, "compression.type": codec, "linger.ms": 5_000,
        "batch.num.messages": RECORDS, "batch.size": 2 * RECORDS * RECORD_BYTES,
        "message.max.bytes": 1_000_000_000, "queue.buffering.max.kbytes": 1_000_000,
        "retries": 0, "log_level": 0,
    })  # fmt: skip
    answers: list[KafkaError | None] = []
    for _ in range(RECORDS):
        producer.produce(
            settings.topic("outcomes"), bytes(RECORD_BYTES), partition=0,
            on_delivery=lambda error, _: answers.append(error),
        )  # fmt: skip
    assert producer.flush(60) == 0
    return answers[0]


def tick(settings: Settings, log_time_ms: int) -> None:
    """Time moves in all logs of the joiner."""
    producer = new_producer(settings)
    for topic in merged_topics("joiner"):
        for partition in range(settings.partitions):
            name, headers = settings.topic(topic.name), tick_headers(log_time_ms)
            producer.produce(name, None, partition=partition, headers=headers)
    assert producer.flush(20) == 0


def test_a_compressed_bomb_becomes_dead_letters(kafka_settings: Settings, tmp_path: Path) -> None:
    """Each of its records is longer than an event may be, so it is a dead letter; what stands
    before and behind them is joined, by the same process."""
    now_ms = time.time_ns() // 1_000_000
    producer = new_producer(kafka_settings)
    tick(kafka_settings, now_ms)
    producer.produce(kafka_settings.topic("predictions"), prediction("r", now_ms), partition=0)
    assert bomb(kafka_settings, "gzip") is None
    producer.produce(kafka_settings.topic("outcomes"), outcome("r", now_ms), partition=0)
    assert producer.flush(20) == 0
    tick(kafka_settings, now_ms + 2_000)
    with World(kafka_settings, tmp_path / "log") as world:
        worker = world.start("joiner")
        wait_for(
            lambda: sum(batch.count("matched") for batch in observations(kafka_settings)) == 1,
            PATIENCE_SECONDS,
        )
        assert worker.poll() is None
    letters = [
        decode_as(DeadLetter, record.value)
        for record in read_topic(kafka_settings, "dead-letters")
        if record.value is not None
    ]
    assert [letter.reason for letter in letters] == ["length"] * RECORDS


def test_a_bomb_the_client_will_not_unpack_stops_the_worker(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    """A known limit, told in docs/operations.md: zstd beyond `receive.message.max.bytes` cannot be
    read, so the worker ends with code 70 and says why, rather than pass over what it cannot see.
    With a larger limit it can be read."""
    tick(kafka_settings, time.time_ns() // 1_000_000)
    assert bomb(kafka_settings, "zstd") is None
    with World(kafka_settings, tmp_path / "log") as world:
        assert world.start("joiner").wait(PATIENCE_SECONDS) == 70
        assert world.lines("BAD_COMPRESSION")
    consumer = new_consumer(kafka_settings, {"receive.message.max.bytes": 1_000_000_000})
    consumer.assign([TopicPartition(kafka_settings.topic("outcomes"), 0, 1)])
    [message] = consumer.consume(1, 30)
    consumer.close()
    assert message.error() is None
    assert message.value() == bytes(RECORD_BYTES)


def test_topics_that_keep_records_unpacked_refuse_bombs(kafka_settings: Settings) -> None:
    """With `compression.type=uncompressed` on the topic the broker unpacks the batch, finds it too
    large, and takes none of it."""
    entry = ConfigEntry(
        "compression.type", "uncompressed", incremental_operation=AlterConfigOpType.SET
    )
    topic = ConfigResource(
        ResourceType.TOPIC, kafka_settings.topic("outcomes"), incremental_configs=[entry]
    )
    admin = new_admin(kafka_settings)
    for future in admin.incremental_alter_configs([topic]).values():
        future.result()
    for codec in ("gzip", "zstd", "lz4"):
        error = bomb(kafka_settings, codec)
        assert error is not None
        assert error.code() == KafkaError.MSG_SIZE_TOO_LARGE
    consumer = new_consumer(kafka_settings)
    assert watermarks(kafka_settings, consumer, "outcomes", [0]) == {0: (0, 0)}
    consumer.close()
