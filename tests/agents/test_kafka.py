"""Clients and readers: bounded, complete, and plain about where they looked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.agents.waiting import wait_for
from tidegate.agents import kafka
from tidegate.agents.kafka import (
    Tail,
    new_consumer,
    new_producer,
    read_topic,
    require_broker,
    unreachable,
    watermarks,
)
from tidegate.agents.settings import Settings
from tidegate.infra.brokers import EmbeddedBroker
from tidegate.schemas.errors import LogTrimmed, Unreachable
from tidegate.schemas.partitioner import partition_of


def write(settings: Settings, name: str, count: int, partition: int = 0) -> None:
    """Write `count` numbered records into one partition."""
    producer = new_producer(settings)
    for index in range(count):
        producer.produce(
            settings.topic(name),
            b"%d" % index,
            partition=partition,
            timestamp=1_700_000_000_000 + index,
        )
    assert producer.flush(20) == 0


def test_reading_ends_at_what_was_there(settings: Settings) -> None:
    """A bounded read gives every record up to the end of each partition, in order, and stops."""
    write(settings, "outcomes", 1_200, partition=1)
    write(settings, "outcomes", 3, partition=2)
    records = list(read_topic(settings, "outcomes"))
    ones = [record for record in records if record.partition == 1]
    assert [record.offset for record in ones] == list(range(1_200))
    assert [record.value for record in records if record.partition == 2] == [b"0", b"1", b"2"]


def test_reading_stays_within_bounds(settings: Settings) -> None:
    """Start is included, end is not, and other partitions are left alone."""
    write(settings, "outcomes", 10, partition=1)
    write(settings, "outcomes", 10, partition=2)
    records = read_topic(settings, "outcomes", [1], start={1: 4}, end={1: 7})
    assert [(record.partition, record.offset) for record in records] == [(1, 4), (1, 5), (1, 6)]


def test_a_follower_that_hears_no_more_says_so(settings: Settings) -> None:
    """Where the log does not have what comes next, silence would look like nothing happening."""
    write(settings, "decisions", 3)
    with Tail(settings, ["decisions"], {("decisions", 0): 1_000}) as tail:
        found: list[LogTrimmed] = []

        def told() -> bool:
            try:
                tail.poll(0.5)
            except LogTrimmed as error:
                found.append(error)
            return bool(found)

        wait_for(told, 60)
    assert "decisions-0 begins at offset 0 by now" in str(found[0])


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._TRANSPORT])
def test_what_passes_is_waited_for_and_what_does_not_is_told(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Rights that were revoked are for a person; a connection that broke comes back by itself."""

    class Failing:
        """A consumer that is told of an error."""

        def poll(self, seconds: float) -> Any:
            return self

        def consume(self, count: int, seconds: float) -> list[Any]:
            return []

        def error(self) -> KafkaError:
            return KafkaError(code)

        def assign(self, places: Any) -> None:
            """Nothing to read."""

        def close(self) -> None:
            """Nothing to leave."""

    monkeypatch.setattr(kafka, "new_consumer", lambda settings: Failing())
    monkeypatch.setattr(kafka, "watermarks", lambda *_: {0: (0, 0)})
    with Tail(Settings(), ["decisions"]) as tail:
        if code == KafkaError._TRANSPORT:
            assert tail.poll(0.1) == []
            return
        with pytest.raises(Unreachable, match="rights"):
            tail.poll(0.1)


def test_watermarks_are_told_for_every_partition(settings: Settings) -> None:
    """First and next offset of each partition, also of those where nothing was written."""
    write(settings, "outcomes", 5, partition=3)
    consumer = new_consumer(settings)
    found = watermarks(settings, consumer, "outcomes")
    consumer.close()
    assert found == {0: (0, 0), 1: (0, 0), 2: (0, 0), 3: (0, 5)}


def test_a_tail_sees_what_comes_later(settings: Settings) -> None:
    """Following begins at the end, or at a given offset of a partition."""
    write(settings, "decisions", 2)
    write(settings, "commands", 2)
    with Tail(settings, ["decisions", "commands"], start={("commands", 0): 1}) as tail:
        write(settings, "decisions", 1)
        seen: list[tuple[str, int]] = []
        while len(seen) < 2:
            records = tail.poll(10)
            assert records
            seen += [(record.topic, record.offset) for record in records]
    expected = [(settings.topic("commands"), 1), (settings.topic("decisions"), 2)]
    assert sorted(seen) == expected


def test_producers_partition_as_kafka_does(settings: Settings) -> None:
    """A key goes to the partition that Kafka's own murmur2 gives, so that topics co-partition."""
    producer = new_producer(settings)
    keys = [f"request-{index}" for index in range(40)]
    for key in keys:
        producer.produce(settings.topic("predictions"), b"", key.encode())
    producer.flush(20)
    found = {record.key: record.partition for record in read_topic(settings, "predictions")}
    assert found == {key.encode(): partition_of(key.encode(), 4) for key in keys}


def test_nobody_answering_says_where_it_looked() -> None:
    """An unreachable broker is named with its address, the origin of it, and a remedy."""
    settings = replace(Settings().with_bootstrap("127.0.0.1:9"), origins={"kafka": "environment"})
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 \(from environment\).*tidegate up"):
        require_broker(settings, seconds=1)


def test_a_refusal_is_not_called_silence() -> None:
    """A broker that answers with an error is not said to be away."""
    refused = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    said = str(unreachable(Settings(), refused))
    assert "No Kafka broker answers" not in said
    assert "Topic authorization failed" in said


def test_a_reader_outlives_a_broker_that_was_away() -> None:
    """A tail waits while its broker is away and goes on by itself."""
    with EmbeddedBroker() as broker:
        settings = Settings(kafka={"bootstrap.servers": broker.bootstrap})
        broker.create_topics({settings.topic("decisions"): 4})
        with Tail(settings, ["decisions"]) as tail:
            broker.kill()
            assert tail.poll(0.5) == []
            broker.restart()
            write(settings, "decisions", 1)
            records = tail.poll(20)
    assert [record.value for record in records] == [b"0"]
