"""What the client's threads do when things go wrong around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError

from tests.agents.client.cluster import Decider
from tests.streams.tables import routing
from tidegate.agents.client import subscriber as subscribing
from tidegate.agents.client.emitter import Delivered, Emitter
from tidegate.agents.client.reporter import Reporter
from tidegate.agents.client.subscriber import Subscriber
from tidegate.agents.client.tables import InForce, Tables
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.events import Applied, Command, Control, Outcome, Routing

OUTCOME = Outcome(request_id="r", outcome_id="o", value=1.0, occurred_at=1, metric="m")


class Ear:
    """Writes down what a subscriber tells; raises once when it is told to."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.caught_up_times = 0
        self.failures = 0

    def connected(self, decision_partitions: int) -> None:
        """Kafka answered."""
        self.heard.append(decision_partitions)

    def heard_routing(self, routing: Routing, partition: int) -> None:
        """A table."""
        if self.failures:
            self.failures -= 1
            raise RuntimeError("an accident of ours")
        self.heard.append(routing.version)

    def heard_control(self, control: Control, partition: int, timestamp_ms: int) -> None:
        """A command of a person."""
        self.heard.append(control.action)

    def heard_command(self, command: Command, partition: int) -> None:
        """A command of a decider."""
        self.heard.append(command.kind)

    def caught_up(self) -> None:
        """Everything that stood there was told."""
        self.caught_up_times += 1


@pytest.fixture
def nowhere(tmp_path: Path) -> Settings:
    """Settings that lead to no broker."""
    return Settings(kafka={"bootstrap.servers": "127.0.0.1:1"}, state_dir=tmp_path)


@pytest.fixture
def ear() -> Ear:
    """A listener."""
    return Ear()


@pytest.fixture
def subscriber(embedded_settings: Settings, ear: Ear) -> Iterator[Subscriber]:
    """A subscriber that is not started yet."""
    made = Subscriber(embedded_settings, ear)
    yield made
    made.stop(10)


def test_unreadable_records_are_counted_and_passed_over(
    embedded_settings: Settings, subscriber: Subscriber, ear: Ear
) -> None:
    """Junk, or a frame of a registry nobody knows, does not keep the next table away."""
    decider = Decider(embedded_settings)
    producer = new_producer(embedded_settings)
    for value in (b"junk", b"\x00\x00\x00\x00\x07x", b""):
        producer.produce(embedded_settings.topic("routing"), value, b"k", partition=0)
    assert producer.flush(10) == 0
    decider.publish()
    subscriber.start()
    assert subscriber.ready.wait(60)
    assert ear.heard == [4, 7]
    assert subscriber.counters["records_refused"] == 3


def test_a_long_read_is_told(
    subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who waits for a first table hears why, and that defaults answer meanwhile."""
    monkeypatch.setattr(subscribing, "_PATIENCE_SECONDS", 0.0)
    subscriber.start()
    assert subscriber.ready.wait(60)
    assert "still reading what was decided before (0 records so far)" in caplog.text


def test_an_accident_of_ours_ends_nothing(
    embedded_settings: Settings, subscriber: Subscriber, ear: Ear
) -> None:
    """Whatever a listener raises, everything is read again from the beginning."""
    ear.failures = 1
    Decider(embedded_settings).publish()
    subscriber.start()
    assert subscriber.ready.wait(60)
    assert ear.heard == [4, 4, 7]
    assert subscriber.counters["subscriber_failures"] == 1


def test_missing_topics_are_waited_for(embedded_settings: Settings, ear: Ear) -> None:
    """Before `tidegate topics apply` there is nothing to read, and no error either."""
    early = Subscriber(Settings(kafka=embedded_settings.kafka, prefix="not-there."), ear)
    early.start()
    assert not early.ready.wait(0.5)
    early.stop(20)
    assert (ear.heard, early.counters["subscriber_failures"]) == ([], 0)


class Event:
    """A message that carries an error."""

    def __init__(self, code: int) -> None:
        self._error = KafkaError(code)

    def error(self) -> KafkaError:
        """The error."""
        return self._error

    def topic(self) -> str:
        """Any topic."""
        return "t"

    def partition(self) -> int:
        """Any partition."""
        return 0


def test_a_log_that_was_cut_is_read_anew(nowhere: Settings, ear: Ear) -> None:
    """When an offset is gone, everything is read from the beginning; other errors pass."""
    reading = Subscriber(nowhere, ear)
    assert reading._must_restart(Event(KafkaError._AUTO_OFFSET_RESET))
    assert not reading._must_restart(Event(KafkaError._ALL_BROKERS_DOWN))
    assert reading.counters["subscriber_errors"] == 2


def test_a_producer_that_failed_for_good_is_replaced(nowhere: Settings) -> None:
    """librdkafka gives an idempotent producer up on a gap; the next events go by a new one."""
    emitter = Emitter(nowhere, {})
    first = emitter._producer
    emitter.poll()
    assert emitter._producer is first
    emitter._note(KafkaError(KafkaError._FATAL, fatal=True))
    emitter.poll()
    assert emitter._producer is not first
    assert emitter.emit("outcomes", "r", OUTCOME)


def test_what_did_not_arrive_is_counted_and_told(nowhere: Settings) -> None:
    """After its time has run out an event is unsent, and whoever asked is told so."""
    emitter = Emitter(nowhere, {"message.timeout.ms": 1, "linger.ms": 0})
    told: list[bool] = []
    assert emitter.emit("outcomes", "r", OUTCOME, delivered=told.append)
    assert emitter.flush(10) == 0
    assert told == [False]
    assert emitter.counters["outcomes_unsent"] == 1


def in_force() -> InForce:
    """A table in force."""
    tables = Tables()
    tables.take_routing(routing(), 0)
    return tables.publish()[0]


class Desk:
    """Takes a reporter's records instead of a producer; deliveries are reported by the test."""

    def __init__(self) -> None:
        self.accepts = True
        self.said: list[tuple[str, int]] = []
        self.reports: list[Delivered] = []

    def emit(
        self, topic: str, key: str, event: Applied, partition: int, delivered: Delivered
    ) -> bool:
        """Writes it down."""
        self.said.append((event.kind, partition))
        self.reports.append(delivered)
        return self.accepts

    def poll(self) -> None:
        """There is nothing to serve."""


@pytest.fixture
def desk() -> Desk:
    """Where the reporter's records go."""
    return Desk()


@pytest.fixture
def reporter(nowhere: Settings, desk: Desk) -> Reporter:
    """A reporter of two partitions."""
    made = Reporter(nowhere, "client", "host")
    made.partitions = 2
    made.emitter = cast(Emitter, desk)
    return made


def test_confirmations_that_did_not_arrive_are_said_again(reporter: Reporter, desk: Desk) -> None:
    """Refused by a full queue or lost on the way: said until it arrives."""
    item = in_force()
    desk.accepts = False
    reporter.change(item)
    reporter.repeat({"ranker": item})
    assert len(desk.said) == 2
    desk.accepts = True
    reporter.repeat({"ranker": item})
    desk.reports[-1](False)
    reporter.repeat({"ranker": item})
    assert len(desk.said) == 4
    desk.reports[-1](True)
    reporter.repeat({"ranker": item})
    assert [kind for kind, _ in desk.said] == ["CHANGE"] * 4


def test_after_a_gap_everything_is_said_again(reporter: Reporter, desk: Desk) -> None:
    """A decider forgets who was silent for long: the client introduces itself anew."""
    item = in_force()
    reporter.heartbeat(False)
    assert desk.said == [("HEARTBEAT", 0), ("HEARTBEAT", 1)]
    desk.reports[0](True)
    reporter.repeat({"ranker": item})
    assert len(desk.said) == 2
    reporter.acknowledged_at -= 60.0
    desk.reports[1](False)
    reporter.repeat({"ranker": item})
    assert len(desk.said) == 2
    desk.reports[1](True)
    reporter.repeat({"ranker": item})
    assert [kind for kind, _ in desk.said[2:]] == ["CHANGE"]
