"""What every broker keeps, the fake one as the real one."""

from __future__ import annotations

import uuid

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tidegate.agents.settings import Settings
from tidegate.infra.brokers import Broker
from tidegate.schemas.topics import TOPICS


def test_topics_have_the_partitions_asked_for(broker: Broker) -> None:
    """A created topic has its number of partitions; creating it again changes nothing."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    broker.create_topics({name: 7})
    broker.create_topics({name: 7})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    assert len(admin.list_topics(timeout=10).topics[name].partitions) == 7


def test_records_come_back_as_written(broker: Broker) -> None:
    """Key, value, headers, timestamp and dense offsets survive; a record may have no value."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    broker.create_topics({name: 2})
    producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True})
    for index in range(3):
        producer.produce(name, b"%d" % index, b"key", partition=1, timestamp=1_700_000_000_000)
    producer.produce(name, None, partition=1, headers=[("tick", b"\1" * 8)])
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "contract"})
    consumer.assign([TopicPartition(name, 1, 0)])
    messages: list[Message] = []
    while len(messages) < 4:
        message = consumer.poll(20)
        assert message is not None
        assert message.error() is None
        messages.append(message)
    consumer.close()
    assert [message.offset() for message in messages] == [0, 1, 2, 3]
    assert [message.value() for message in messages] == [b"0", b"1", b"2", None]
    assert messages[0].key() == b"key"
    assert messages[0].timestamp()[1] == 1_700_000_000_000
    assert messages[3].headers() == [("tick", b"\1" * 8)]


def test_settings_bring_their_topics(settings: Settings) -> None:
    """A test's settings name a fresh prefix under which the whole topics table exists."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    present = admin.list_topics(timeout=10).topics
    counts = {name: len(present[settings.topic(name)].partitions) for name in TOPICS}
    assert counts == {name: settings.partition_count(topic) for name, topic in TOPICS.items()}
