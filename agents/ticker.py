"""The ticker: the only reader of the wall clock, and what it writes is what time is.

It writes a tick into every partition of every merged topic. Several may run: a tick that is not
above the running maximum says nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    Message,
)

from tidegate.agents.hosting.publisher import ProducerLike
from tidegate.agents.kafka import new_producer, unreachable
from tidegate.agents.metrics import Sample
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import Unreachable
from tidegate.schemas.marks import marker_headers, tick_headers, time_jump
from tidegate.schemas.topics import TOPICS

_log = logging.getLogger(__name__)

CLOCK_TOLERANCE_MS = 1_000
_JUMP_MS = 500
_WITNESS_SECONDS = 10.0
_DELIVERY_MS = 10_000
_FLUSH_SECONDS = 2.0
_SILENCE_MS = 60_000
"""Folds ignore a tick ten minutes ahead of the last unless a jump was announced; sooner is safe."""
# The embedded broker tells small numbers: it has no clock. This is the year 2001.
_NO_CLOCK_BEFORE_MS = 1_000_000_000_000


class LogClock:
    """Time for ticks: the host's clock as long as a broker does not contradict it.

    Between comparisons only the monotonic clock counts, so that a wall clock that is set, or
    jumps, moves nothing by itself. `witness` gives a broker's time in ms, or None when it has none.
    """

    def __init__(
        self,
        witness: Callable[[], int | None],
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._witness = witness
        self._wall_ms = wall_ms
        self._monotonic_ms = monotonic_ms
        self._base_ms = 0
        self._seen_ms = 0
        self.offset_ms = 0
        self.compare()

    def now_ms(self) -> int:
        """Milliseconds since 1970, as far as this host and its broker agree on them."""
        return self._base_ms + self._monotonic_ms()

    @property
    def disturbed(self) -> bool:
        """Whether wall and monotonic clock have come apart since the last comparison."""
        return abs(self._wall_ms() - self._monotonic_ms() - self._seen_ms) > _JUMP_MS

    def compare(self) -> None:
        """Ask the broker, and follow it when the host's clock is off by more than a second."""
        told_ms = self._witness()
        wall_ms, monotonic_ms = self._wall_ms(), self._monotonic_ms()
        self._seen_ms = wall_ms - monotonic_ms
        self.offset_ms = 0 if told_ms is None else told_ms - wall_ms
        trusted_ms = wall_ms
        if told_ms is not None and abs(self.offset_ms) > CLOCK_TOLERANCE_MS:
            trusted_ms = told_ms
            _log.error(
                "this host's clock is %.1f s off the broker's, whose time is used: set the clock",
                -self.offset_ms / 1_000,
            )
        self._base_ms = trusted_ms - monotonic_ms


@dataclass(slots=True)
class TickerStatistics:
    """For metrics: totals since the process began, and the age of the last delivered tick."""

    delivered: int = 0
    failed: int = 0
    last_delivered_ms: int = 0


class Ticker:
    """Writes ticks on a schedule that does not drift and does not make up for missed ones.

    Ticks are not kept for a broker that is away: an old one says nothing that the next does not.
    """

    def __init__(
        self,
        settings: Settings,
        producer: ProducerLike | None = None,
        clock: LogClock | None = None,
    ) -> None:
        self._settings = settings
        if producer is None:
            producer = new_producer(settings, {"linger.ms": 0, "message.timeout.ms": _DELIVERY_MS})
        self._producer = producer
        self._places = [
            (settings.topic(topic.name), partition)
            for topic in TOPICS.values()
            if topic.ticks
            for partition in range(settings.partition_count(topic))
        ]
        self._tick_ms = max(1, settings.tick_ms)
        self._last_ms = 0
        # Where the last tick may be too old for the next one to count without an announcement.
        self._unannounced = set(range(len(self._places)))
        self.beat_at = time.monotonic()
        self.statistics = TickerStatistics()
        self.clock = LogClock(self._append_time_ms) if clock is None else clock

    def run(self, stopped: threading.Event) -> None:
        """Tick until `stopped`. Blocks."""
        while not stopped.is_set():
            self.beat_at = time.monotonic()
            if self.clock.disturbed:
                self._compare_again()
            due_ms = self.tick() + self._tick_ms
            while (wait_ms := due_ms - self.clock.now_ms()) > 0 and not stopped.is_set():
                self._producer.poll(min(wait_ms, self._tick_ms) / 1_000)
        self._producer.flush(_FLUSH_SECONDS)

    def tick(self) -> int:
        """Write one tick everywhere; returns its log time, ms: on the grid, above the last.

        A jump is announced first wherever time may have stood still: before the first tick, after
        silence, after a record that did not arrive, and when the clock was found to be wrong.
        """
        before_ms = self._last_ms
        self._last_ms = max(before_ms + 1, on_grid(self.clock.now_ms(), self._tick_ms))
        if self._last_ms - before_ms > _SILENCE_MS:
            self._announce_everywhere()
        announcement = marker_headers(time_jump(self._last_ms))
        headers = tick_headers(self._last_ms)
        for place in range(len(self._places)):
            if place in self._unannounced:
                self._unannounced.discard(place)
                self._write(place, announcement)
            self._write(place, headers)
        return self._last_ms

    def tick_age(self) -> float | None:
        """Seconds since the newest tick that arrived; None before the first."""
        last_ms = self.statistics.last_delivered_ms
        return (self.clock.now_ms() - last_ms) / 1_000 if last_ms else None

    def samples(self) -> Iterator[Sample]:
        """Everything there is to scrape."""
        yield Sample("tidegate_ticks_total", self.statistics.delivered)
        yield Sample("tidegate_ticks_failed_total", self.statistics.failed)
        yield Sample("tidegate_clock_offset_seconds", self.clock.offset_ms / 1_000)
        tick_age = self.tick_age()
        if tick_age is not None:
            yield Sample("tidegate_tick_age_seconds", tick_age)

    def _compare_again(self) -> None:
        _log.warning("the host's clock was set, or the process stood still")
        try:
            self.clock.compare()
        except Unreachable as error:
            # The monotonic clock still holds; the next tick asks again.
            _log.warning("the broker's clock cannot be asked: %s", error)
        else:
            self._announce_everywhere()

    def _announce_everywhere(self) -> None:
        self._unannounced.update(range(len(self._places)))

    def _write(self, place: int, headers: list[tuple[str, bytes]]) -> None:
        written_ms = self._last_ms
        topic, partition = self._places[place]

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed(place)
                _log.warning("a tick for %s was not delivered: %s", message.topic(), error)
            else:
                self.statistics.delivered += 1
                self.statistics.last_delivered_ms = written_ms

        try:
            self._producer.produce(
                topic, None, partition=partition, headers=headers, on_delivery=delivered
            )
        except BufferError:
            self._failed(place)
            self._producer.poll(0)

    def _failed(self, place: int) -> None:
        self.statistics.failed += 1
        self._unannounced.add(place)

    def _append_time_ms(self) -> int | None:
        """A broker's own time, from a record on a topic that nobody merges.

        Raises:
            Unreachable: no broker took the record.
        """
        answers: list[tuple[KafkaError | None, tuple[int, int]]] = []
        self._producer.produce(
            self._settings.topic("clock"),
            b"",
            on_delivery=lambda error, message: answers.append((error, message.timestamp())),
        )
        deadline = time.monotonic() + _WITNESS_SECONDS
        while not answers and time.monotonic() < deadline:
            self._producer.poll(0.05)
        error = answers[0][0] if answers else KafkaError(KafkaError._TIMED_OUT)
        if error is not None:
            raise unreachable(self._settings, KafkaException(error))
        kind, time_ms = answers[0][1]
        told = kind == TIMESTAMP_LOG_APPEND_TIME and time_ms > _NO_CLOCK_BEFORE_MS
        return time_ms if told else None


def on_grid(now_ms: int, tick_ms: int) -> int:
    """The last multiple of `tick_ms`: ticks stand equally far apart, however late they are written.

    An interval that is a little too short would make every batch wait for the tick after it. And
    two tickers on one grid make one time: of equal ticks only the first says something.

    >>> on_grid(1_000_049, 100), on_grid(1_000_101, 100)
    (1000000, 1000100)
    """
    return now_ms // tick_ms * tick_ms
