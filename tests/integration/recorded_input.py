"""One input log for many joiners: requests, shadows, outcomes, and all that goes wrong with them.

Written in one go, ticks and all, so that nothing about it depends on when it is read.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from confluent_kafka import Producer

from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import encode
from tidegate.schemas.events import Outcome, Prediction, ShadowPrediction
from tidegate.schemas.marks import tick_headers
from tidegate.schemas.partitioner import partition_of
from tidegate.schemas.topics import merged_topics

TICK_MS = 100
REWARD_WAIT_MS = 10_000
REQUESTS_PER_TICK = 100
LAGGING_TICKER_MS = 37
CLOSING_MS = 60_000
"""Ticks go on so long behind the last request: longer than reward wait, early wait and grace."""

TOPICS = tuple(topic.name for topic in merged_topics("joiner"))


@dataclass(frozen=True, slots=True)
class Sent:
    """What was written."""

    predictions: int
    records: int


class InputLog:
    """Writes the log: `requests` predictions, 5 % of everything twice, late ones, orphans.

    Two tickers tick; the one that leads dies half way.
    """

    def __init__(self, settings: Settings, requests: int, seed: int = 1) -> None:
        self._settings = settings
        self._requests = requests
        self._draw = random.Random(seed)
        self._producer: Producer = new_producer(settings)
        self._due: list[tuple[int, int, str, str, bytes]] = []
        self._planned = 0
        self._records = 0

    def write(self) -> Sent:
        """All of it; returns when everything is acknowledged."""
        steps = self._requests // REQUESTS_PER_TICK
        begin_ms = time.time_ns() // 1_000_000 - steps * TICK_MS - 2 * CLOSING_MS
        end_ms = begin_ms + steps * TICK_MS + CLOSING_MS
        middle_ms = begin_ms + steps * TICK_MS // 2
        for number, now_ms in enumerate(range(begin_ms, end_ms, TICK_MS)):
            self._tick(now_ms, leading=now_ms < middle_ms)
            if number < steps:
                for place in range(REQUESTS_PER_TICK):
                    self._request(f"request-{number}-{place}", now_ms)
            for topic, request_id, value in self._ripe(now_ms):
                self._send(topic, request_id, value)
        self._tick(end_ms, leading=False)
        assert self._producer.flush(120) == 0, "the broker did not take the input"
        return Sent(steps * REQUESTS_PER_TICK, self._records)

    def _tick(self, now_ms: int, leading: bool) -> None:
        for topic in TOPICS:
            for partition in range(self._settings.partitions):
                name = self._settings.topic(topic)
                if leading:
                    self._put(name, partition, None, tick_headers(now_ms))
                # The other ticker's clock is behind; its ticks count once it is alone.
                self._put(name, partition, None, tick_headers(now_ms - LAGGING_TICKER_MS))

    def _request(self, request_id: str, now_ms: int) -> None:
        draw = self._draw
        at_ms = now_ms + draw.randrange(TICK_MS)
        prediction = encode(_prediction(request_id, at_ms, draw))
        self._plan(at_ms + draw.choice((0, 0, 0, 0, 900)), TOPICS[0], request_id, prediction)
        if draw.random() < 0.3:
            shadow = encode(_shadow(request_id, at_ms, draw))
            self._plan(at_ms + draw.randrange(300), TOPICS[1], request_id, shadow)
        if draw.random() < 0.6:
            # The last thirtieth occurs behind the window.
            after_ms = draw.randrange(REWARD_WAIT_MS * 31 // 30)
            outcome = encode(_outcome(request_id, at_ms + after_ms, draw.random()))
            self._plan(at_ms + after_ms + draw.randrange(2_000), TOPICS[2], request_id, outcome)
        if draw.random() < 0.01:
            nobody = f"nobody-{request_id}"
            self._plan(at_ms, TOPICS[2], nobody, encode(_outcome(nobody, at_ms, 1.0)))
        if draw.random() < 0.005:
            self._plan(at_ms, draw.choice(TOPICS), request_id, b"no event at all")

    def _plan(self, at_ms: int, topic: str, request_id: str, value: bytes) -> None:
        copies = 2 if self._draw.random() < 0.05 else 1
        for copy in range(copies):
            self._planned += 1
            entry = (at_ms + 700 * copy, self._planned, topic, request_id, value)
            heappush(self._due, entry)

    def _ripe(self, now_ms: int) -> Iterator[tuple[str, str, bytes]]:
        while self._due and self._due[0][0] < now_ms + TICK_MS:
            _, _, topic, request_id, value = heappop(self._due)
            yield topic, request_id, value

    def _send(self, topic: str, request_id: str, value: bytes) -> None:
        partition = partition_of(request_id.encode(), self._settings.partitions)
        self._put(self._settings.topic(topic), partition, value, [], request_id.encode())

    def _put(
        self, name: str, partition: int, value: bytes | None,
        headers: list[tuple[str, bytes]], key: bytes | None = None,
    ) -> None:  # fmt: skip
        while True:
            try:
                self._producer.produce(name, value, key, partition, headers=headers)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._records += 1
        self._producer.poll(0)


def _prediction(request_id: str, at_ms: int, draw: random.Random) -> Prediction:
    variant = draw.choice(("champion", "challenger"))
    failed = draw.random() < 0.01
    return Prediction(
        request_id=request_id,
        unit_id=f"user-{draw.randrange(10_000)}",
        served_at=at_ms,
        propensity=0.5,
        score=draw.random(),
        label=draw.choice(("cat", "dog")),
        latency_ms=draw.expovariate(0.1),
        attributes={"region": draw.choice(("eu", "us"))},
        experiment=f"ranker-{draw.randrange(6)}",
        generation=1,
        variant=variant,
        served_variant="champion" if failed else variant,
        model="ranker",
        model_version="v1",
        routing_epoch=0,
        routing_version=1,
        reason="SPLIT",
        reward_wait_ms=REWARD_WAIT_MS,
        status="FALLBACK" if failed else "OK",
    )


def _shadow(request_id: str, at_ms: int, draw: random.Random) -> ShadowPrediction:
    return ShadowPrediction(
        request_id=request_id,
        served_at=at_ms,
        score=draw.random(),
        label=draw.choice(("cat", "dog")),
        latency_ms=draw.expovariate(0.1),
        experiment="ranker-0",
        generation=1,
        variant="shadow",
        model="ranker",
        model_version="v2",
        status="OK",
    )


def _outcome(request_id: str, at_ms: int, value: float) -> Outcome:
    return Outcome(
        request_id=request_id,
        outcome_id=f"{request_id}-o",
        value=value,
        occurred_at=at_ms,
        metric="conversion",
    )
