"""Where the logs end, asked by a client of its own: a fetch that is stuck cannot hide its lag.

So is whether brokers answer at all: a worker that owns nothing would know it of no log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaException

from tidegate.agents.kafka import ANSWER_SECONDS_MAX, new_consumer, unreachable, watermarks
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import Unreachable

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5.0
_STALE_SECONDS = 15.0

LogEnd = tuple[str, int]
"""(topic name without prefix, partition)."""


class Ends:
    """Asks every few seconds, in a thread, for the ends of what `owned` names.

    While that is nothing it asks for `topic` (without prefix), only to hear a broker.
    """

    def __init__(
        self, settings: Settings, topic: str, owned: Callable[[], Iterable[LogEnd]]
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._owned = owned
        self._answered_at: float | None = None
        self._known: dict[LogEnd, tuple[int, float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidegate-ends", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no longer."""
        self._stopped.set()

    def end(self, name: str, partition: int) -> int | None:
        """Offset after the last record, or None when no broker told it lately."""
        known = self._known.get((name, partition))
        return known[0] if known is not None and _is_fresh(known[1]) else None

    @property
    def answered(self) -> bool:
        """Whether a broker answered anything lately."""
        return self._answered_at is not None and _is_fresh(self._answered_at)

    def _run(self) -> None:
        consumer = new_consumer(self._settings)
        try:
            while not self._stopped.wait(_INTERVAL_SECONDS):
                try:
                    self._ask(consumer)
                except Unreachable as error:
                    _log.warning("the ends of the logs are not known: %s", error)
        finally:
            consumer.close()

    def _ask(self, consumer: Consumer) -> None:
        owned = list(self._owned())
        for name, partition in owned:
            found = watermarks(self._settings, consumer, name, [partition])
            self._answered_at = time.monotonic()
            self._known[name, partition] = (found[partition][1], self._answered_at)
        if owned:
            return
        try:
            consumer.list_topics(self._settings.topic(self._topic), ANSWER_SECONDS_MAX)
        except KafkaException as error:
            raise unreachable(self._settings, error) from error
        self._answered_at = time.monotonic()


def _is_fresh(at: float) -> bool:
    return time.monotonic() - at <= _STALE_SECONDS
