"""Where the logs end, asked by a client of its own: a fetch that is stuck cannot hide its lag."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer

from tidegate.agents.kafka import new_consumer, watermarks
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import Unreachable

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5.0
_STALE_SECONDS = 15.0

LogEnd = tuple[str, int]
"""(topic name without prefix, partition)."""


class Ends:
    """Asks every few seconds, in a thread, for the ends of what `owned` names."""

    def __init__(self, settings: Settings, owned: Callable[[], Iterable[LogEnd]]) -> None:
        self._settings = settings
        self._owned = owned
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
        if known is None or time.monotonic() - known[1] > _STALE_SECONDS:
            return None
        return known[0]

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
        for name, partition in list(self._owned()):
            found = watermarks(self._settings, consumer, name, [partition])
            self._known[name, partition] = (found[partition][1], time.monotonic())
