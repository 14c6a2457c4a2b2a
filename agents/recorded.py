"""The logs of one partition index as they were recorded, read by whoever folds them again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tidegate.agents.kafka import (
    SILENCE_SECONDS_MAX,
    new_consumer,
    read_failure,
    unreachable,
)
from tidegate.agents.settings import Settings
from tidegate.agents.transport.fetched import Batch, from_librdkafka
from tidegate.schemas.breaks import Break, Gaps, follow, gaps_of
from tidegate.schemas.topics import merged_topics
from tidegate.streams.merge import Fetched

_FETCH_RECORDS: Final = 2_000
_POLL_SECONDS: Final = 0.2
_READ_AHEAD_KILOBYTES: Final = "16384"

Bounds = Mapping[str, Mapping[int, tuple[int, int]]]
"""topic -> partition -> (oldest offset kept, offset to stop before)."""


class RecordedLogs:
    """The merged logs of one partition index, each read when it is asked for, up to its bound.

    `gaps` is what `breaks` accept as lost, by rank.
    """

    def __init__(
        self,
        settings: Settings,
        role: str,
        partition: int,
        bounds: Bounds,
        breaks: Sequence[Break] = (),
    ) -> None:
        self.topics = [topic.name for topic in merged_topics(role)]
        self._settings = settings
        self._bounds = [bounds[topic][partition] for topic in self.topics]
        self._next = [low for low, _ in self._bounds]
        self._read: list[deque[Batch]] = [deque() for _ in self._bounds]
        self.gaps: dict[int, Gaps] = {
            rank: gaps_of(breaks, topic, partition) for rank, topic in enumerate(self.topics)
        }
        self._consumers: list[Consumer] = []
        for topic, (low, _) in zip(self.topics, self._bounds, strict=True):
            consumer = new_consumer(settings, {"queued.max.messages.kbytes": _READ_AHEAD_KILOBYTES})
            consumer.assign([TopicPartition(settings.topic(topic), partition, low)])
            self._consumers.append(consumer)

    def read(self, rank: int) -> Fetched | None:
        """The next records of a log; None at its bound.

        Raises:
            Unreachable: the broker was silent for 30 s.
            LogTrimmed: it deleted the records before they were read.
        """
        end = self._bounds[rank][1]
        if not self._read[rank]:
            if follow(self.gaps[rank], self._next[rank]) >= end:
                return None
            self._read[rank].extend(from_librdkafka(self._messages(rank, end)))
        fetched = self._read[rank].popleft().fetched()
        self._next[rank] = fetched.first_offset + len(fetched.values)
        return fetched

    def _messages(self, rank: int, end: int) -> list[Message]:
        heard = time.monotonic()
        while True:
            wanted = min(_FETCH_RECORDS, end - self._next[rank])
            messages = self._consumers[rank].consume(wanted, _POLL_SECONDS)
            for message in messages:
                error = message.error()
                if error is not None:
                    self._next[rank] = end  # a consumer that failed gives nothing any more
                    raise read_failure(self._settings, self._consumers[rank], message, error)
            messages = [message for message in messages if message.offset() < end]
            if messages:
                return messages
            if time.monotonic() - heard > SILENCE_SECONDS_MAX:
                raise unreachable(self._settings, KafkaException(KafkaError(KafkaError._TIMED_OUT)))

    def rest(self, topic: str) -> Iterator[Fetched]:
        """What is left of a log."""
        rank = self.topics.index(topic)
        while (fetched := self.read(rank)) is not None:
            yield fetched

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for consumer in self._consumers:
            consumer.close()
