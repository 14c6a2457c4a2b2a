"""Events out of the process: queued at once, never waited for, counted when they cannot go."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import encode
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import Event

_log = logging.getLogger(__name__)

Delivered = Callable[[bool], None]
"""Told once a record is in Kafka (True) or never will be (False)."""


class Emitter:
    """One producer that is made anew when librdkafka gives it up.

    Counters: `<topic>_sent`, `<topic>_unsent` (queue full, or not delivered in time) and
    `<topic>_refused` (the event itself is wrong).

    `schema_ids` says which topics are framed for a registry, and with which id.
    """

    def __init__(
        self,
        settings: Settings,
        overrides: Mapping[str, Any],
        schema_ids: Mapping[str, int] | None = None,
    ) -> None:
        self._settings = settings
        self._overrides = dict(overrides)
        self._schema_ids = schema_ids or {}
        self._broken = False
        self.counters: Counter[str] = Counter()
        self._producer = self._new_producer()

    def emit(
        self, topic: str, key: str, event: Event, partition: int = -1,
        delivered: Delivered | None = None,
    ) -> bool:
        """Queues an event for the topic `topic` of the topics table; False when it cannot go."""
        try:
            value = encode(event, self._schema_ids.get(topic))
        except EventError as error:
            self.counters[f"{topic}_refused"] += 1
            _log.warning("an event for %s was refused: %s", topic, error)
            return False

        def report(error: KafkaError | None, _: Message) -> None:
            self.counters[f"{topic}_unsent" if error else f"{topic}_sent"] += 1
            if delivered is not None:
                delivered(error is None)

        try:
            self._producer.produce(
                self._settings.topic(topic), value, key.encode("utf-8", "replace"), partition,
                on_delivery=report,
            )
        except (BufferError, KafkaException, RuntimeError):
            self.counters[f"{topic}_unsent"] += 1
            return False
        return True

    def poll(self) -> None:
        """Serves delivery reports, and replaces a producer that has failed for good."""
        if self._broken:
            self._broken = False
            self._producer = self._new_producer()
        self._producer.poll(0)

    def flush(self, seconds: float) -> int:
        """Waits until all is sent; returns how many records are not."""
        return int(self._producer.flush(seconds))

    def _new_producer(self) -> Producer:
        return new_producer(self._settings, {**self._overrides, "error_cb": self._note})

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            self._broken = True
