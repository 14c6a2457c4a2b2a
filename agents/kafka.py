"""Kafka clients made from settings, and bounded readers of whole topics.

Everything here is confluent-kafka; the agents' own fetching is in `agents/transport/`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tidegate.agents.log_rate import RateLimit
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import LogTrimmed, TidegateError, Unreachable
from tidegate.schemas.topics import TOPICS

ANSWER_SECONDS_MAX = 5.0
SILENCE_SECONDS_MAX = 30.0
_FETCH_RECORDS = 500
_SILENT = frozenset((KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT))
_DELETED = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
# Of what a follower is told, that which does not pass: it would hear nothing any more.
# Brokers that have just started may not know of a topic yet: that passes.
_LASTING = frozenset((
    *_DELETED, KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
))  # fmt: skip
_LEADERLESS = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
_LEADER_SECONDS = 0.1

# Whoever partitions otherwise sends outcomes where their predictions are not, in silence.
PRODUCER_FIXED: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "message.max.bytes": max(topic.bytes_max for topic in TOPICS.values()),
}


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read; `topic` is the full name."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


_LOGGER = logging.getLogger("tidegate.kafka")
_LOGGER.addFilter(RateLimit())


def new_producer(settings: Settings, overrides: Mapping[str, Any] | None = None) -> Producer:
    """A producer that loses and reorders nothing and partitions as Kafka's own does."""
    return Producer(
        {
            "linger.ms": 5,
            "compression.type": "lz4",
            **settings.kafka,
            **(overrides or {}),
            **PRODUCER_FIXED,
        },
        logger=_LOGGER,
    )


def new_consumer(settings: Settings, overrides: Mapping[str, Any] | None = None) -> Consumer:
    """A consumer for `assign()`: no group to join, nothing committed, no offset guessed."""
    return Consumer(
        {
            "group.id": "tidegate-reader",
            # The default of a second stalls a reader each time its queue is full.
            "fetch.queue.backoff.ms": 5,
            "fetch.wait.max.ms": 50,
            **settings.kafka,
            **(overrides or {}),
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        },
        logger=_LOGGER,
    )


def new_admin(settings: Settings) -> AdminClient:
    """An administration client; keep it until its futures are in."""
    return AdminClient(dict(settings.kafka), logger=_LOGGER)


def require_broker(settings: Settings, seconds: float = ANSWER_SECONDS_MAX) -> None:
    """Return when a broker answers.

    Raises:
        Unreachable: none did within `seconds`; the message says where it was looked for.
    """
    try:
        new_admin(settings).list_topics(timeout=seconds)
    except KafkaException as error:
        raise unreachable(settings, error) from error


def unreachable(settings: Settings, error: KafkaException) -> Unreachable:
    """What to tell a person when no broker answers, or one refuses to."""
    origin = settings.origins.get("kafka", "the defaults")
    place, said = f"{settings.bootstrap} (from {origin})", error.args[0].str()
    if error.args[0].code() not in _SILENT:
        return Unreachable(
            f"Kafka at {place} does not give what it was asked for: {said}. Look at its topics and"
            " rights, beginning with `tidegate doctor`."
        )
    return Unreachable(
        f"No Kafka broker answers at {place}: {said}. Start one, for example with `tidegate up`, "
        "or set kafka: bootstrap.servers in tidegate.yaml or TIDEGATE_BOOTSTRAP."
    )


def read_failure(
    settings: Settings, consumer: Consumer, message: Message, error: KafkaError
) -> TidegateError:
    """What to raise for a message that is an error: `LogTrimmed`, or else `Unreachable`."""
    if error.code() not in _DELETED:
        return unreachable(settings, KafkaException(error))
    topic, partition = message.topic() or "", message.partition() or 0
    try:
        low, _ = _watermarks(consumer, TopicPartition(topic, partition))
        return LogTrimmed(topic, partition, low)
    except KafkaException as failed:
        return unreachable(settings, failed)


def watermarks(
    settings: Settings, consumer: Consumer, name: str, partitions: Sequence[int] | None = None
) -> dict[int, tuple[int, int]]:
    """First offset kept and offset after the last, per partition of the topic `name`.

    Raises:
        Unreachable: the broker does not tell.
    """
    found = {}
    every = range(settings.partition_count(TOPICS[name]))
    for partition in every if partitions is None else partitions:
        place = TopicPartition(settings.topic(name), partition)
        try:
            found[partition] = _watermarks(consumer, place)
        except KafkaException as error:
            raise unreachable(settings, error) from error
    return found


def _watermarks(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while True:
        try:
            told: tuple[int, int] = consumer.get_watermark_offsets(place, ANSWER_SECONDS_MAX)
            return told
        except KafkaException as error:
            # A topic just made, or whose leader just moved, is led again in a moment.
            if error.args[0].code() not in _LEADERLESS or time.monotonic() > deadline:
                raise
            time.sleep(_LEADER_SECONDS)


def read_topic(
    settings: Settings,
    name: str,
    partitions: Sequence[int] | None = None,
    start: Mapping[int, int] | None = None,
    end: Mapping[int, int] | None = None,
) -> Iterator[Record]:
    """All records of a topic as it is now, each partition in order.

    Args:
        name: of the topics table, without prefix.
        partitions: which; all when None.
        start: first offset by partition; the oldest kept where absent.
        end: offset to stop before by partition; what is written when reading begins where absent.

    Raises:
        Unreachable: the broker was silent for 30 s before the end was reached.
        LogTrimmed: it deleted records before they were read.
    """
    consumer = new_consumer(settings, {"enable.partition.eof": True})
    try:
        bounds = {
            partition: (
                max(low, (start or {}).get(partition, low)),
                min(high, (end or {}).get(partition, high)),
            )
            for partition, (low, high) in watermarks(settings, consumer, name, partitions).items()
        }
        yield from _read_between(settings, consumer, settings.topic(name), bounds)
    finally:
        consumer.close()


def _read_between(
    settings: Settings, consumer: Consumer, topic: str, bounds: Mapping[int, tuple[int, int]]
) -> Iterator[Record]:
    ends = {partition: end for partition, (start, end) in bounds.items() if start < end}
    consumer.assign([TopicPartition(topic, each, bounds[each][0]) for each in ends])
    heard = time.monotonic()
    while ends:
        # consume() alone would wait for its time to pass whenever there are fewer records.
        first = consumer.poll(0.2)
        messages = [] if first is None else [first, *consumer.consume(_FETCH_RECORDS, 0)]
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > SILENCE_SECONDS_MAX:
            raise unreachable(settings, KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        for message in messages:
            partition = message.partition()
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise read_failure(settings, consumer, message, error)
            if partition not in ends:
                continue
            if error is None and message.offset() < ends[partition]:
                yield to_record(message)
            # The last offsets may hold nothing (compacted): then only the end of the log says so.
            if message.offset() >= ends[partition] - (error is None):
                del ends[partition]


def to_record(message: Message) -> Record:
    """A message without error, as a record."""
    topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset()
    timestamp_ms, headers = message.timestamp()[1], tuple(message.headers() or ())
    key, value = message.key(), message.value()
    return Record(topic, partition, offset or 0, timestamp_ms, key, value, headers)


class Tail:
    """Follows topics from now on, or from given offsets, until closed.

    Args:
        start: first offset by (name, partition); where absent, what is written from now on.

    Raises:
        Unreachable: no broker tells where the topics end.
    """

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        start: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        self._settings = settings
        self._consumer = new_consumer(settings)
        given = start or {}
        places = []
        try:
            for name in names:
                for partition, (_, high) in watermarks(settings, self._consumer, name).items():
                    offset = given.get((name, partition), high)
                    places.append(TopicPartition(settings.topic(name), partition, offset))
        except Unreachable:
            self._consumer.close()
            raise
        self._consumer.assign(places)

    def poll(self, seconds: float) -> list[Record]:
        """Records that came within `seconds`; returns as soon as there is one.

        A broker that is away is waited for: the clients reconnect by themselves.

        Raises:
            LogTrimmed, Unreachable: nothing more will come, and why.
        """
        first = self._consumer.poll(seconds)
        if first is None:
            return []
        records: list[Record] = []
        for message in (first, *self._consumer.consume(_FETCH_RECORDS, 0)):
            error = message.error()
            if error is None:
                records.append(to_record(message))
            elif error.fatal() or error.code() in _LASTING:
                raise read_failure(self._settings, self._consumer, message, error)
        return records

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
