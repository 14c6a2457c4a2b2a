"""One librdkafka consumer a partition index: while a backlog lasts, every index gets its turn."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import Producer
from faust.types import TP

from tidegate.agents.settings import Settings
from tidegate.agents.transport.clients import fetcher_settings
from tidegate.agents.transport.librdkafka_fetch import _group
from tidegate.agents.transport.readers import Readers
from tidegate.schemas.topics import merged_topics

RECORDS = 40_000
"""A topic-partition's backlog: some fetches, and more than its index may run ahead."""

HIGH_WATER, LOW_WATER = 4_000, 1_000


class OneForAll(Readers):
    """How it was: all topic-partitions share a consumer, and so its queue."""

    def assign(self, offsets: Mapping[TP, int], paused: Any) -> list[Any]:
        """All of one index."""
        self._clients = {0: self._new_client()}
        places = [confluent_kafka.TopicPartition(*tp, offset) for tp, offset in offsets.items()]
        self._clients[0].assign(places)
        return []

    def _by_client(self, places: Any) -> list[tuple[Any, list[Any]]]:
        return [(self._clients[0], [confluent_kafka.TopicPartition(*tp) for tp in places])]


@pytest.fixture
def backlog(kafka_settings: Settings) -> dict[TP, int]:
    """Every topic-partition of the joiner holds as much; where to read from."""
    producer = Producer({**kafka_settings.kafka, "linger.ms": 50, "log_level": 0})
    places = {
        TP(kafka_settings.topic(topic.name), partition): 0
        for topic in merged_topics("joiner")
        for partition in range(kafka_settings.partitions)
    }
    for number in range(RECORDS):
        for topic, partition in places:
            producer.produce(topic, b"%0200d" % number, partition=partition)
        producer.poll(0)
        if number % 5_000 == 0:
            producer.flush(60)
    assert producer.flush(60) == 0
    return places


def taken_when_the_first_is_through(
    readers: Readers, places: Mapping[TP, int]
) -> Counter[int]:
    """Records of each index that are through its merge when one index is through its backlog.

    As a merge does, an index is released as far as all its logs have come, and a log that is too
    far ahead of that is paused; a fold takes its time, so that a queue builds up.
    """
    indexed = _by_index(places)
    got = Counter(dict.fromkeys(places, 0))
    paused: set[TP] = set()
    readers.assign(places, ())
    deadline = time.monotonic() + 120
    try:
        while True:
            for tp, messages in _group(readers.consume(500, lambda _: True)).items():
                got[tp] += len(messages)
                time.sleep(len(messages) * 1e-5)
            through = {tp: min(got[other] for other in same) for tp, same in indexed.items()}
            ahead = {tp: got[tp] - through[tp] for tp in places}
            pause = [tp for tp in places if tp not in paused and ahead[tp] >= HIGH_WATER]
            resume = [tp for tp in paused if ahead[tp] <= LOW_WATER]
            readers.pause(pause)
            readers.resume(resume)
            paused = (paused | set(pause)) - set(resume)
            indexes = Counter({tp.partition: count for tp, count in through.items()})
            if max(indexes.values()) >= RECORDS or time.monotonic() > deadline:
                return indexes
    finally:
        readers.close()


def _by_index(places: Mapping[TP, int]) -> dict[TP, list[TP]]:
    return {tp: [other for other in places if other.partition == tp.partition] for tp in places}


@pytest.mark.kafka
@pytest.mark.slow
def test_every_index_gets_its_turn(backlog: dict[TP, int], kafka_settings: Settings) -> None:
    """When the first index is through its backlog, the last is at least half way; with one
    consumer for all, which this test must tell from it, some index had hardly begun."""

    def new_client() -> Any:
        return confluent_kafka.Consumer(fetcher_settings(kafka_settings.kafka, "turns"))

    fair = taken_when_the_first_is_through(Readers(new_client), backlog)
    assert max(fair.values()) >= RECORDS
    assert min(fair.values()) >= RECORDS / 2
    unfair = taken_when_the_first_is_through(OneForAll(new_client), backlog)
    assert min(unfair.values()) < RECORDS / 2
