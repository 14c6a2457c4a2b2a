"""What a ticker of a schedule writes with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from tests.simulation.logs import Entry
from tidegate.schemas.marks import Mark, Marker, read_mark

if TYPE_CHECKING:
    from tests.simulation.world import World


class TickProducer:
    """What a ticker writes with: a tick arrives everywhere but where no leader is, or is missed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._headers: Any = None
        self._mark: Mark | None = None

    def produce(self, topic: str, value: bytes | None, **arguments: Any) -> None:
        """One mark to one topic-partition."""
        world, place, headers = self._world, (topic, arguments["partition"]), arguments["headers"]
        report = arguments["on_delivery"]
        if place in world.missed or place in world.cluster.away:
            report(KafkaError(KafkaError._MSG_TIMED_OUT), _Undelivered())
            return
        if headers is not self._headers:
            self._headers, self._mark = headers, read_mark(headers)
            world.seen["announced jump"] += isinstance(self._mark, Marker)
        world.cluster.append(place, Entry(None, self._mark, b"", world.now_ms))
        report(None, None)

    def poll(self, timeout: float) -> int:
        """Reports are served at once here."""
        return 0

    def flush(self, timeout: float) -> int:
        """Nothing waits."""
        return 0

    def __len__(self) -> int:
        return 0


class _Undelivered:
    def topic(self) -> str:
        return ""
