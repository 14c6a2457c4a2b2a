"""The thread that reads routing, control and commands: what stands there first, then what comes.

It reads by `assign()`, in no group: every client sees every record. Nothing is published before
control and routing were read to their ends once: a table without the rollbacks that belong to it
would let a bad variant serve.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from tidegate.agents.client.history import control_starts
from tidegate.agents.kafka import new_consumer
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.errors import EventError, UnknownSchemaId, Unreachable
from tidegate.schemas.events import Command, Control, Routing

_log = logging.getLogger(__name__)

_FETCH_RECORDS = 500
_POLL_SECONDS = 0.1
_METADATA_SECONDS = 1.0
_RETRY_SECONDS_MAX = 2.0
_PATIENCE_SECONDS = 10.0
_TOPICS = ("routing", "control", "commands")
_FROM_BEFORE = ("routing", "control")


class Listener(Protocol):
    """Who is told; called on the subscriber's thread only."""

    def connected(self, decision_partitions: int) -> None:
        """Kafka answered; the topics have so many partitions."""

    def heard_routing(self, routing: Routing, partition: int) -> None:
        """A table."""

    def heard_control(self, control: Control, partition: int, timestamp_ms: int) -> None:
        """A command of a person or of a decider."""

    def heard_command(self, command: Command, partition: int) -> None:
        """A command of a decider, heartbeats included."""

    def caught_up(self) -> None:
        """What was heard so far belongs together and may be obeyed."""


class Subscriber:
    """Reads until stopped, whatever Kafka does meanwhile."""

    def __init__(self, settings: Settings, listener: Listener) -> None:
        self._settings = settings
        self._listener = listener
        self._stopped = threading.Event()
        self._names = {settings.topic(name): name for name in _TOPICS}
        self._unread: set[tuple[str, int]] = set()
        self.ready = threading.Event()
        self.counters: Counter[str] = Counter()
        self.consumer: Consumer | None = None
        self._thread = threading.Thread(target=self._run, name="tidegate-subscriber", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Ends reading; waits so long for the thread."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.consumer = new_consumer(self._settings, {
                    "enable.partition.eof": True, "client.id": "tidegate-client",
                })
                if self._assign(self.consumer):
                    self._follow(self.consumer)
            except (KafkaException, Unreachable):
                self.counters["subscriber_errors"] += 1
                self._stopped.wait(_RETRY_SECONDS_MAX)
            except Exception:
                # Serving goes on by what is known; whatever it was is tried again.
                self.counters["subscriber_failures"] += 1
                _log.exception("reading routing tables failed; trying again")
                self._stopped.wait(_RETRY_SECONDS_MAX)
            finally:
                if self.consumer is not None:
                    self.consumer.close()
                    self.consumer = None

    def _assign(self, consumer: Consumer) -> bool:
        """Waits until all topics are there, then reads each from where it must begin."""
        wait = 0.1
        while not self._stopped.is_set():
            counts = self._partition_counts(consumer)
            if counts is not None:
                break
            self._stopped.wait(wait)
            wait = min(2 * wait, _RETRY_SECONDS_MAX)
        else:
            return False
        self._unread = {(name, each) for name in _FROM_BEFORE for each in range(counts[name])}
        starts = {
            "routing": dict.fromkeys(range(counts["routing"]), OFFSET_BEGINNING),
            "control": control_starts(consumer, self._settings, counts["control"]),
            "commands": dict.fromkeys(range(counts["commands"]), OFFSET_END),
        }
        consumer.assign([
            TopicPartition(self._settings.topic(name), each, offset)
            for name, offsets in starts.items()
            for each, offset in offsets.items()
        ])
        self._listener.connected(counts["control"])
        return True

    def _partition_counts(self, consumer: Consumer) -> dict[str, int] | None:
        counts = {}
        try:
            for topic, name in self._names.items():
                found = consumer.list_topics(topic, timeout=_METADATA_SECONDS).topics.get(topic)
                if found is None or found.error is not None or not found.partitions:
                    return None
                counts[name] = len(found.partitions)
        except KafkaException:
            return None
        return counts

    def _follow(self, consumer: Consumer) -> None:
        tell_at, heard = time.monotonic() + _PATIENCE_SECONDS, 0
        while not self._stopped.is_set():
            if self._unread and time.monotonic() > tell_at:
                tell_at += _PATIENCE_SECONDS
                _log.warning(
                    "still reading what was decided before (%d records so far):"
                    " until then no table is obeyed that was not known here already", heard,
                )  # fmt: skip
            first = consumer.poll(_POLL_SECONDS)
            if first is None:
                continue
            messages = [first, *consumer.consume(_FETCH_RECORDS, 0)]
            heard += len(messages)
            for message in messages:
                if self._must_restart(message):
                    return
                if message.error() is None:
                    self._take(message)
            if not self._unread:
                self._listener.caught_up()
                self.ready.set()

    def _must_restart(self, message: Message) -> bool:
        """Notes ends and errors; True when a log is not what it was, and must be read anew."""
        error = message.error()
        if error is None:
            return False
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            self._unread.discard((self._names.get(message.topic(), ""), message.partition()))
            return False
        self.counters["subscriber_errors"] += 1
        return bool(code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE))

    def _take(self, message: Message) -> None:
        value, partition = message.value(), message.partition()
        if value is None:
            return  # ticks, and tables that were withdrawn
        try:
            _TAKE[self._names[message.topic()]](
                self._listener, value, partition, message.timestamp()[1]
            )
        except (EventError, UnknownSchemaId) as error:
            self.counters["records_refused"] += 1
            _log.warning("a record of %s was refused: %s", message.topic(), error)


def _routing(listener: Listener, value: bytes, partition: int, _: int) -> None:
    listener.heard_routing(decode_as(Routing, value), partition)


def _control(listener: Listener, value: bytes, partition: int, timestamp_ms: int) -> None:
    listener.heard_control(decode_as(Control, value), partition, timestamp_ms)


def _command(listener: Listener, value: bytes, partition: int, _: int) -> None:
    listener.heard_command(decode_as(Command, value), partition)


_TAKE: dict[str, Callable[[Listener, bytes, int, int], Any]] = {
    "routing": _routing, "control": _control, "commands": _command,
}
