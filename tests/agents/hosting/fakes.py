"""A producer that acknowledges when told to, and an end of the process that can be caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from confluent_kafka import KafkaError


class Stopped(Exception):
    """What a fail-stop raises in tests."""


def raise_stop(why: str, error: BaseException | None = None) -> NoReturn:
    """A fail-stop that can be seen."""
    raise Stopped(why) from error


class FakeMessage:
    """What a delivery report is asked for."""

    def __init__(self, topic: str, size: int = 0) -> None:
        self._topic = topic
        self._size = size

    def __len__(self) -> int:
        return self._size

    def topic(self) -> str:
        """Full name."""
        return self._topic


class FakeProducer:
    """Keeps what it was given; `acknowledge` answers for the oldest, or for a chosen one."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.records: list[tuple[str, bytes | None, dict[str, Any]]] = []
        self.waiting: list[tuple[str, Callable[..., None], int]] = []
        self.polls = 0
        self.at_once = False
        self._room = room

    def produce(self, topic: str, value: bytes | None, **arguments: Any) -> None:
        """Take a record, or refuse it when there is no room."""
        if len(self.waiting) >= self._room:
            raise BufferError
        self.records.append((topic, value, arguments))
        self.waiting.append((topic, arguments["on_delivery"], len(value or b"")))

    def acknowledge(self, index: int = 0, error: KafkaError | None = None) -> None:
        """Report on one record that waits."""
        topic, report, size = self.waiting.pop(index)
        report(error, FakeMessage(topic, size))

    def poll(self, timeout: float) -> int:
        """Whoever waits for room gets some; with `at_once` everything is acknowledged."""
        self.polls += 1
        while self.waiting and (timeout > 0 or self.at_once):
            self.acknowledge()
        return 0

    def flush(self, timeout: float) -> int:
        """Acknowledge everything."""
        while self.waiting:
            self.acknowledge()
        return 0

    def __len__(self) -> int:
        return len(self.waiting)
