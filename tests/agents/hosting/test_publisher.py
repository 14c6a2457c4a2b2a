"""Outputs: counted until acknowledged, never given up."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from tests.agents.hosting.fakes import FakeProducer, Stopped, raise_stop
from tidegate.agents.hosting.publisher import CROWDED_BYTES, CROWDED_OUTPUTS, Publisher
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import encode
from tidegate.schemas.events import DeadLetter
from tidegate.streams.output import Output

OBSERVATION = Output("observations", 3, b"k", b"v")


def publisher(producer: FakeProducer) -> Publisher:
    """A publisher of the joiner over a fake producer."""
    return Publisher(Settings(), "joiner", raise_stop, producer)


def test_outputs_go_to_the_partition_they_name() -> None:
    """Topic gets the prefix; partition and key are the fold's."""
    producer = FakeProducer()
    publisher(producer).emit(0, OBSERVATION)
    topic, value, arguments = producer.records[0]
    assert (topic, value) == ("tidegate.observations", b"v")
    assert (arguments["partition"], arguments["key"]) == (3, b"k")


@pytest.mark.parametrize("topic", ["control", "routing", "commands", "decisions"])
def test_what_others_subscribe_to_carries_cloudevents(topic: str) -> None:
    """Headers name id, source and type; equal records are one event."""
    producer = FakeProducer()
    chosen = publisher(producer)
    for value in (b"v", b"v", b"w"):
        chosen.emit(0, Output(topic, 0, b"k", value))
    headers = [dict(arguments["headers"]) for _, _, arguments in producer.records]
    assert headers[0]["ce_specversion"] == b"1.0"
    assert headers[0]["ce_source"] == b"/tidegate/joiner"
    assert headers[0]["ce_type"].startswith(b"io.tidegate.")
    assert headers[0]["ce_id"] == headers[1]["ce_id"] != headers[2]["ce_id"]


def test_hot_topics_carry_no_headers() -> None:
    """Observations are ours alone: a header each would be paid for by every fact."""
    producer = FakeProducer()
    publisher(producer).emit(0, OBSERVATION)
    assert "headers" not in producer.records[0][2]


def test_a_failed_delivery_ends_the_process() -> None:
    """A hole in the outputs cannot be mended by going on."""
    producer = FakeProducer()
    publisher(producer).emit(0, OBSERVATION)
    with pytest.raises(Stopped, match="not delivered"):
        producer.acknowledge(error=KafkaError(KafkaError._MSG_TIMED_OUT))


def test_a_full_queue_is_waited_for() -> None:
    """No output is dropped for want of room."""
    producer = FakeProducer(room=1)
    chosen = publisher(producer)
    chosen.emit(0, OBSERVATION)
    chosen.emit(0, OBSERVATION)
    assert len(producer.records) == 2
    assert producer.polls == 1


def test_a_cut_waits_for_what_was_sent_before_it() -> None:
    """Acknowledgements of later outputs do not stand in for earlier ones that are missing."""
    producer = FakeProducer()
    chosen = publisher(producer)
    chosen.emit(0, OBSERVATION)
    chosen.emit(0, OBSERVATION)
    tallies = chosen.cut(0)
    chosen.emit(0, OBSERVATION)
    producer.acknowledge(2)
    producer.acknowledge(0)
    assert not all(tally.complete for tally in tallies)
    producer.acknowledge(0)
    assert all(tally.complete for tally in tallies)


def test_a_cut_includes_unfinished_earlier_cuts() -> None:
    """A second checkpoint waits for what the first waited for."""
    producer = FakeProducer()
    chosen = publisher(producer)
    chosen.emit(0, OBSERVATION)
    chosen.cut(0)
    chosen.emit(0, OBSERVATION)
    tallies = chosen.cut(0)
    assert [tally.sent for tally in tallies] == [1, 1]
    assert not tallies[0].complete


def test_cuts_of_one_partition_do_not_wait_for_another() -> None:
    """Each source partition has its own count."""
    producer = FakeProducer()
    chosen = publisher(producer)
    chosen.emit(0, OBSERVATION)
    assert chosen.cut(1) == ()


def test_counts_tell_sent_and_acknowledged_over_cuts() -> None:
    """Totals do not start anew at a cut."""
    producer = FakeProducer()
    chosen = publisher(producer)
    for _ in range(3):
        chosen.emit(5, OBSERVATION)
    chosen.cut(5)
    producer.acknowledge()
    assert chosen.counts() == {5: (3, 1)}
    producer.flush(1)
    chosen.cut(5)
    chosen.emit(5, OBSERVATION)
    assert chosen.counts() == {5: (4, 3)}


def test_many_unacknowledged_outputs_are_a_crowd() -> None:
    """Input waits while a broker is away, so that the queue never fills."""
    producer = FakeProducer()
    chosen = publisher(producer)
    for _ in range(CROWDED_OUTPUTS):
        chosen.emit(0, OBSERVATION)
    assert not chosen.crowded
    chosen.emit(0, OBSERVATION)
    assert chosen.crowded


def test_large_outputs_are_a_crowd_sooner() -> None:
    """The queue is bounded in bytes too, and a full one would stop the event loop."""
    producer = FakeProducer()
    chosen = publisher(producer)
    large = Output("observations", 0, b"k", bytes(CROWDED_BYTES // 2))
    chosen.emit(0, large)
    chosen.cut(0)
    chosen.emit(0, large)
    assert not chosen.crowded
    chosen.emit(1, OBSERVATION)
    assert chosen.crowded
    producer.acknowledge()
    assert not chosen.crowded


def test_dead_letters_are_counted_by_reason() -> None:
    """What cannot be counted can at least be watched."""
    producer = FakeProducer()
    chosen = publisher(producer)
    for reason in ("clock", "schema", "clock"):
        letter = DeadLetter(
            reason=reason,
            detail="far ahead",
            topic="outcomes",
            partition=0,
            offset=7,
            log_time=1_000,
            value=b"x",
            engine="e1",
        )
        chosen.emit(0, Output("dead-letters", 0, b"outcomes-0", encode(letter)))
    assert chosen.dead_letters == {"clock": 2, "schema": 1}
