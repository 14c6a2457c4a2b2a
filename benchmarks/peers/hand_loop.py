"""A hand-written loop: confluent-kafka, fastavro, dictionaries; nothing survives a restart.

What a good engineer writes in an afternoon when it only has to be fast: no order between
topics, no duplicates, no late or orphaned events told apart, no checkpoints, no dead letters.
"""

from __future__ import annotations

import json
import time
from collections import deque
from io import BytesIO
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from fastavro import schemaless_reader

from benchmarks.cluster import Stopwatch
from benchmarks.peers.job import EARLY_MS, Job, in_window
from benchmarks.workload import REWARD_WAIT_MS
from tidegate.schemas import catalogue

_HEAD_BYTES = 10
_PUBLISH_SECONDS = 1.0

Aggregates = dict[tuple[str, str, str], list[float]]


class Loop:
    """State of the loop: predictions by id, what came before its prediction, aggregates."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.aggregates: Aggregates = {}
        self.pairs = 0
        self._pending: dict[str, tuple[int, str, str]] = {}
        self._early: dict[str, list[tuple[int, str, str, float]]] = {}
        self._order: deque[tuple[int, str]] = deque()
        self._reached = {
            (topic, number): 0 for topic in job.topics for number in range(job.partitions)
        }
        self._prediction = catalogue.latest("prediction").parsed
        self._shadow = catalogue.latest("shadow-prediction").parsed
        self._outcome = catalogue.latest("outcome").parsed

    def messages(self, messages: list[Any]) -> int:
        """Join a batch; the number of events in it, ticks apart."""
        predictions, shadows, _ = self.job.topics
        events = 0
        for message in messages:
            value = message.value()
            if value is None:
                continue
            events += 1
            stream = BytesIO(value)
            stream.seek(_HEAD_BYTES)
            topic = message.topic()
            if topic == predictions:
                record: Any = schemaless_reader(stream, self._prediction, None)
                at_ms = record["served_at"]
                self._open(record, at_ms)
            elif topic == shadows:
                record = schemaless_reader(stream, self._shadow, None)
                at_ms = record["served_at"]
                self._join(record["request_id"], at_ms, record["variant"], "score", record["score"])
            else:
                record = schemaless_reader(stream, self._outcome, None)
                at_ms = record["occurred_at"]
                self._join(record["request_id"], at_ms, "", record["metric"], record["value"])
            self._reached[topic, message.partition()] = at_ms
        self._forget()
        return events

    def _open(self, record: Any, at_ms: int) -> None:
        key = record["request_id"]
        early = self._early.pop(key, None)
        if early is not None:
            for event_ms, variant, metric, value in early:
                if in_window(event_ms - at_ms):
                    self._add(record["experiment"], variant or record["variant"], metric, value)
        self._pending[key] = (at_ms, record["experiment"], record["variant"])
        self._order.append((at_ms, key))

    def _join(self, key: str, at_ms: int, variant: str, metric: str, value: float) -> None:
        found = self._pending.get(key)
        if found is None:
            self._early.setdefault(key, []).append((at_ms, variant, metric, value))
        elif in_window(at_ms - found[0]):
            self._add(found[1], variant or found[2], metric, value)

    def _add(self, experiment: str, variant: str, metric: str, value: float) -> None:
        self.pairs += 1
        sums = self.aggregates.get((experiment, variant, metric))
        if sums is None:
            self.aggregates[experiment, variant, metric] = [1, value, value * value]
        else:
            sums[0] += 1
            sums[1] += value
            sums[2] += value * value

    def _forget(self) -> None:
        """Predictions older than the window of everything that may still come."""
        before_ms = min(self._reached.values()) - REWARD_WAIT_MS - EARLY_MS
        while self._order and self._order[0][0] < before_ms:
            self._pending.pop(self._order.popleft()[1], None)


def main() -> None:
    """Read, join, publish once a second, until all events are read."""
    job = Job.from_environment()
    consumer = Consumer({
        "bootstrap.servers": job.bootstrap, "group.id": job.group, "enable.auto.commit": False,
        "fetch.queue.backoff.ms": 5,
    })  # fmt: skip
    consumer.assign([
        TopicPartition(topic, number, 0)
        for topic in job.topics
        for number in range(job.partitions)
    ])  # fmt: skip
    producer = Producer({"bootstrap.servers": job.bootstrap, "compression.type": "lz4"})
    loop = Loop(job)
    watch = Stopwatch()
    events, published = 0, time.time()

    def publish() -> None:
        for names, sums in loop.aggregates.items():
            producer.produce(job.output, json.dumps(sums), "|".join(names))
        producer.poll(0)

    while events < job.events:
        messages = consumer.consume(500, 0.1)
        if not messages:
            continue
        watch.work()
        events += loop.messages(messages)
        if time.time() - published > _PUBLISH_SECONDS:
            publish()
            published = time.time()
    publish()
    producer.flush()
    watch.work()
    watch.say(events, loop.pairs)
    consumer.close()


if __name__ == "__main__":
    main()
