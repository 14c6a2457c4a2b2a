"""The local Apache Kafka: starts, dies and comes back; says what is missing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tidegate.infra.brokers import LocalBroker, jars
from tidegate.infra.brokers.base import Broker
from tidegate.infra.brokers.nodes import Ports, _properties
from tidegate.schemas.errors import DefinitionError, Unreachable


@pytest.fixture
def own_kafka(local_kafka: Broker, tmp_path: Path) -> Iterator[LocalBroker]:
    """A Kafka that this test may kill; asking for the shared one skips where none can run."""
    with LocalBroker(data=tmp_path / "kafka") as broker:
        yield broker


def test_settings_of_a_caller_win(tmp_path: Path) -> None:
    """A test that needs another broker than ours says so by node; what it leaves stays ours."""
    wanted = {"min.insync.replicas": "7", "authorizer.class.name": "Strict"}
    ports = {1: Ports(1_001, 1_002)}
    lines = _properties(1, ports, tmp_path, wanted).splitlines()
    assert {"min.insync.replicas=7", "authorizer.class.name=Strict", "node.id=1"} <= set(lines)
    assert len({line.partition("=")[0] for line in lines}) == len(lines)


def produce(broker: Broker, topic: str, values: list[bytes], seconds: float = 30) -> int:
    """Write values; how many were not acknowledged in time."""
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "log_level": 0}
    )
    for value in values:
        producer.produce(topic, value, partition=0)
    left: int = producer.flush(seconds)
    return left


def consume(broker: Broker, topic: str, count: int) -> list[bytes]:
    """The first `count` values of partition 0."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": "reader", "log_level": 0}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes] = []
    while len(values) < count:
        message = consumer.poll(30)
        assert message is not None
        value = message.value()
        assert isinstance(value, bytes)
        values.append(value)
    consumer.close()
    return values


@pytest.mark.kafka
def test_acknowledged_records_survive_a_kill(own_kafka: LocalBroker) -> None:
    """After SIGKILL and restart every acknowledged record is there, on the same address."""
    own_kafka.create_topics({"kept": 1})
    assert produce(own_kafka, "kept", [b"%d" % index for index in range(100)]) == 0
    own_kafka.kill()
    admin = AdminClient({"bootstrap.servers": own_kafka.bootstrap, "log_level": 0})
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=1)
    own_kafka.restart()
    assert consume(own_kafka, "kept", 100) == [b"%d" % index for index in range(100)]


@pytest.mark.kafka
def test_a_paused_node_answers_again_when_resumed(own_kafka: LocalBroker) -> None:
    """SIGSTOP makes it silent, SIGCONT lets it go on; a second start of a live node is refused."""
    own_kafka.create_topics({"kept": 1})
    own_kafka.pause()
    assert produce(own_kafka, "kept", [b"during"], seconds=1) == 1
    own_kafka.resume()
    assert produce(own_kafka, "kept", [b"after"]) == 0
    with pytest.raises(DefinitionError, match="runs already"):
        own_kafka.restart()
    with pytest.raises(DefinitionError, match="no node 2"):
        own_kafka.kill(2)


@pytest.mark.kafka
def test_kept_data_is_found_again(local_kafka: Broker, tmp_path: Path) -> None:
    """A broker on the same folder has the records of the one before."""
    with LocalBroker(data=tmp_path) as first:
        first.create_topics({"kept": 1})
        assert produce(first, "kept", [b"once"]) == 0
    with LocalBroker(data=tmp_path) as second:
        assert consume(second, "kept", 1) == [b"once"]


@pytest.mark.kafka
@pytest.mark.slow
def test_three_nodes_lose_one_and_nothing_else(local_kafka: Broker) -> None:
    """With three nodes, one killed: what is written is acknowledged and read by the others."""
    topic = f"kept-{uuid.uuid4().hex[:8]}"
    with LocalBroker(nodes=3) as broker:
        broker.create_topics({topic: 1})
        assert produce(broker, topic, [b"before"]) == 0
        leader = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=20)
        broker.kill(leader.topics[topic].partitions[0].leader)
        assert produce(broker, topic, [b"after"], seconds=60) == 0
        assert consume(broker, topic, 2) == [b"before", b"after"]


def test_missing_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java the message names the version and a package."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DefinitionError, match=r"Java 17.*openjdk-17"):
        jars.java_command()


def test_an_old_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Java below 17 is refused with its version and the variable to set."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(DefinitionError, match=r'version "11\.0\.2".*JAVA_HOME'):
        jars.java_command()


def test_missing_maven_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Maven the jars cannot be fetched: the message names the package."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DefinitionError, match="apt-get install maven"):
        jars.kafka_jars(lambda sentence: None, cache=tmp_path)


def test_a_failed_download_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maven's words are passed on, and no half-filled folder is taken for the jars later."""
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho 'no such repository' >&2\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:/usr/bin:/bin")
    told: list[str] = []
    with pytest.raises(Unreachable, match="no such repository"):
        jars.kafka_jars(told.append, cache=tmp_path / "cache")
    assert told == ["Fetching Apache Kafka (44 MB, once) with Maven ..."]
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cluster_needs_a_node() -> None:
    """Zero nodes are refused before anything is started."""
    with pytest.raises(DefinitionError, match="at least one node"):
        LocalBroker(nodes=0)
