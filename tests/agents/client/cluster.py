"""A decider's side of the conversation, for tests of the client on a broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.streams.tables import routing
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import Applied, Command, Control, Event, Routing
from tidegate.schemas.partitioner import partition_of


def eventually(is_true: Callable[[], Any], seconds: float = 15.0) -> None:
    """Waits until it is true, and fails when it never is."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


class Decider:
    """Writes tables, rollbacks and heartbeats, and reads what clients say."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._producer = new_producer(settings, {"linger.ms": 0})

    def write(self, topic: str, key: str, event: Event | None, experiment: str = "ranker") -> None:
        """One record where a decider would write it; None is a tombstone."""
        place = partition_of(experiment.encode(), self.settings.decision_partitions)
        value = None if event is None else encode(event)
        self._producer.produce(self.settings.topic(topic), value, key.encode(), place)
        assert self._producer.flush(10) == 0

    def publish(self, *args: Any, **changes: Any) -> Routing:
        """A table of `routing`."""
        table = routing(*args, **changes)
        self.write("routing", f"{table.experiment}/{table.epoch}/{table.version:012}", table)
        return table

    def control(self, action: str = "ROLLBACK", variant: str = "b", **changes: Any) -> None:
        """A record of `control`."""
        values: dict[str, Any] = {
            "control_id": f"{action}-{variant}-{time.time_ns()}", "experiment": "ranker",
            "generation": 2, "action": action, "arguments": {"variant": variant}, "actor": "ann",
            "role": "owner", "reason": "test", "issued_at": time.time_ns() // 1_000_000,
        }  # fmt: skip
        self.write("control", "ranker", Control(**{**values, **changes}))

    def command(self, kind: str = "HEARTBEAT", **arguments: str) -> None:
        """A record of `commands`."""
        experiment = "" if kind == "HEARTBEAT" else "ranker"
        self.write("commands", "ranker", Command(
            command_id=f"{kind}-{time.time_ns()}", experiment=experiment, generation=0, kind=kind,
            arguments=arguments, reason="test", decision_id="",
        ))

    def applied(self, kind: str = "CHANGE") -> list[Applied]:
        """What clients have said."""
        records = read_topic(self.settings, "applied")
        said = [decode_as(Applied, item.value) for item in records if item.value is not None]
        return [item for item in said if item.kind == kind]
