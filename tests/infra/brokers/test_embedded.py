"""The embedded broker: faults on request, and never longer alive than its parent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tidegate.infra.brokers import EmbeddedBroker
from tidegate.schemas.errors import DefinitionError, Unreachable


def test_it_dies_with_its_parent() -> None:
    """A parent that is killed takes its broker with it: the pipe between them ends."""
    script = (
        "from tidegate.infra.brokers import EmbeddedBroker; import os, signal\n"
        "broker = EmbeddedBroker(); print(broker.bootstrap, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    # The broker inherits its parent's stderr, so reading that ends only when both are gone.
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    admin = AdminClient({"bootstrap.servers": done.stdout.strip(), "log_level": 0})
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=1)


def test_killed_and_restarted_it_still_has_its_data() -> None:
    """Cutting a node's network loses nothing; a producer that waits gets through afterwards."""
    with EmbeddedBroker() as broker:
        broker.create_topics({"kept": 1})
        producer = Producer(
            {"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "log_level": 0}
        )
        producer.produce("kept", b"before")
        assert producer.flush(20) == 0
        broker.kill()
        producer.produce("kept", b"during")
        assert producer.flush(0.5) == 1
        broker.restart()
        assert producer.flush(20) == 0


def test_a_paused_broker_answers_nobody_until_it_goes_on() -> None:
    """Pausing leaves connections open and requests unanswered."""
    with EmbeddedBroker() as broker:
        broker.pause()
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        with pytest.raises(KafkaException):
            admin.list_topics(timeout=0.5)
        broker.resume()
        assert admin.list_topics(timeout=20).brokers


def test_errors_can_be_put_into_answers() -> None:
    """An injected error reaches a producer as a broker's own would, and a retry heals it."""
    with EmbeddedBroker(nodes=3) as broker:
        broker.create_topics({"moving": 1})
        broker.lead("moving", 0, 2)
        broker.delay(20, node=2)
        broker.fail(0, [6, 6])  # Produce: not the leader, twice
        producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        errors: list[object] = []
        producer.produce("moving", b"", on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(20) == 0
        assert errors == [None]


def test_what_it_refuses_is_said() -> None:
    """A request that makes no sense is an error with the reason, and the broker lives on."""
    with EmbeddedBroker() as broker:
        with pytest.raises(DefinitionError, match="refused"):
            broker.kill(9)
        broker.create_topics({"present": 1})


def test_a_stopped_broker_says_so() -> None:
    """After stop nothing can be asked; stopping twice is harmless."""
    broker = EmbeddedBroker()
    broker.stop()
    broker.stop()
    with pytest.raises(Unreachable, match="was stopped"):
        broker.create_topics({"late": 1})


def test_a_process_that_died_is_noticed() -> None:
    """When the broker's process is gone, the next request says so and does not hang."""
    broker = EmbeddedBroker()
    os.kill(broker.pid, 9)
    with pytest.raises(Unreachable, match=r"is gone|without an answer"):
        broker.create_topics({"late": 1})
    broker.stop()
