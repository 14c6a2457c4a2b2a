"""Outputs of folds to Kafka: idempotent, explicit partitions, and counted until acknowledged."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tidegate.agents.cloudevents import CLOUDEVENT_TOPICS, cloudevent_headers
from tidegate.agents.failstop import FailStop, fail_stop
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import DeadLetter
from tidegate.streams.output import Output

_log = logging.getLogger(__name__)

# Above this much that is unacknowledged no more input is fetched; what is fetched already makes
# outputs that fit in what is left of the producer's own queue.
CROWDED_OUTPUTS = 20_000
CROWDED_BYTES = 64 * 1024 * 1024
_QUEUE_OUTPUTS = 200_000
_QUEUE_KIBIBYTES = 256 * 1024
_BUFFER_POLL_SECONDS = 0.05


class ProducerLike(Protocol):
    """What is used of `confluent_kafka.Producer`."""

    def produce(self, topic: str, value: bytes | None, **arguments: Any) -> None: ...
    def poll(self, timeout: float) -> int: ...
    def flush(self, timeout: float) -> int: ...
    def __len__(self) -> int: ...


class Tally:
    """Outputs of one source partition between two cuts: how many went out, how many arrived.

    Acknowledgements keep order within a topic-partition only, so a running total of them could
    count a later output in place of an earlier one; a tally per stretch cannot.
    """

    __slots__ = ("_fail", "acknowledged", "sent", "waiting_bytes")

    def __init__(self, fail: FailStop) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.waiting_bytes = 0
        self._fail = fail

    def send(self, value: bytes | None) -> None:
        """Count an output on its way."""
        self.sent += 1
        self.waiting_bytes += len(value or b"")

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """Delivery report of one output; one that cannot be delivered ends the process."""
        if error is not None:
            self._fail(f"an output for {message.topic()} was not delivered: {error}")
        self.acknowledged += 1
        self.waiting_bytes -= len(message)

    @property
    def complete(self) -> bool:
        """Whether every output counted here is acknowledged."""
        return self.acknowledged == self.sent


class Publisher:
    """Writes what folds emit; one per process.

    The producer waits for a broker as long as the process lives: an output given up while later
    ones go out would be a hole that no restart mends.
    """

    def __init__(
        self,
        settings: Settings,
        role: str,
        fail: FailStop = fail_stop,
        producer: ProducerLike | None = None,
    ) -> None:
        self._settings = settings
        self._source = f"/tidegate/{role}"
        self._fail = fail
        self._producer = publishing_producer(settings) if producer is None else producer
        self._open: dict[int, Tally] = {}
        self._closed: dict[int, list[Tally]] = {}
        self._finished: dict[int, int] = {}
        self.dead_letters: Counter[str] = Counter()

    def emit(self, source_partition: int, output: Output) -> None:
        """Hand one output of the fold of `source_partition` to the producer."""
        tally = self._open.get(source_partition)
        if tally is None:
            tally = self._open[source_partition] = Tally(self._fail)
        if output.topic == "dead-letters":
            self.dead_letters[_reason(output)] += 1
        arguments: dict[str, Any] = {}
        if output.topic in CLOUDEVENT_TOPICS and output.value is not None:
            arguments["headers"] = cloudevent_headers(
                output.topic, output.key, output.value, self._source
            )
        tally.send(output.value)
        topic = self._settings.topic(output.topic)
        while True:
            try:
                self._producer.produce(
                    topic,
                    output.value,
                    key=output.key,
                    partition=output.partition,
                    on_delivery=tally.delivered,
                    **arguments,
                )
                return
            except BufferError:
                self._producer.poll(_BUFFER_POLL_SECONDS)
            except KafkaException as error:
                self._fail(f"an output for {topic} was refused", error)

    def cut(self, source_partition: int) -> tuple[Tally, ...]:
        """Tallies that must be complete before a checkpoint taken now may be announced."""
        earlier = self._closed.setdefault(source_partition, [])
        current = self._open.pop(source_partition, None)
        if current is not None:
            earlier.append(current)
        done = [tally for tally in earlier if tally.complete]
        self._finished[source_partition] = self._finished.get(source_partition, 0) + sum(
            tally.sent for tally in done
        )
        earlier[:] = [tally for tally in earlier if not tally.complete]
        return tuple(earlier)

    def counts(self) -> dict[int, tuple[int, int]]:
        """Outputs (sent, acknowledged) by source partition since the process began."""
        partitions = sorted({*self._open, *self._closed, *self._finished})
        return {partition: self._count(partition) for partition in partitions}

    def _count(self, partition: int) -> tuple[int, int]:
        finished = self._finished.get(partition, 0)
        current = self._open.get(partition)
        tallies = [*self._closed.get(partition, ()), *([current] if current else [])]
        return (
            finished + sum(tally.sent for tally in tallies),
            finished + sum(tally.acknowledged for tally in tallies),
        )

    @property
    def crowded(self) -> bool:
        """Whether input should wait until outputs are acknowledged."""
        if len(self._producer) > CROWDED_OUTPUTS:
            return True
        # A copy: the watchdog asks from its thread.
        open_bytes = sum(tally.waiting_bytes for tally in list(self._open.values()))
        closed = [tally for tallies in list(self._closed.values()) for tally in list(tallies)]
        return open_bytes + sum(tally.waiting_bytes for tally in closed) > CROWDED_BYTES

    def poll(self) -> None:
        """Serve delivery reports; never waits."""
        self._producer.poll(0)

    def flush(self, timeout_seconds: float) -> int:
        """Wait for acknowledgements; how many outputs are still without one."""
        return self._producer.flush(timeout_seconds)


def _reason(output: Output) -> str:
    return decode_as(DeadLetter, output.value).reason


def publishing_producer(settings: Settings, overrides: Mapping[str, Any] | None = None) -> Producer:
    """A producer whose records all arrive, in order, as long as the process lives."""
    return new_producer(
        settings,
        {
            # 0: no delivery time-out short of the process's death.
            "message.timeout.ms": 0,
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": _QUEUE_OUTPUTS,
            "queue.buffering.max.kbytes": _QUEUE_KIBIBYTES,
            **(overrides or {}),
        },
    )
