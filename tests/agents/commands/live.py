"""A decider that answers on the broker: the real fold, fed with orders as they come."""

from __future__ import annotations

import threading
from typing import Self

from confluent_kafka import Producer

from tests.streams.deciding.world import NAME, World
from tidegate.agents.commands.logs import experiment_partition
from tidegate.agents.kafka import Tail
from tidegate.agents.settings import Settings
from tidegate.streams.deciding.decider import CONTROL

__all__ = ["NAME", "LiveDecider"]


class LiveDecider:
    """Follows `control` in a thread; evidence and time come by `world`, then `publish`."""

    def __init__(self, settings: Settings) -> None:
        self.world = World()
        self._settings = settings
        self._partition = experiment_partition(settings, NAME)
        self._producer = Producer({**settings.kafka, "log_level": 0})
        self._written = 0
        self._stopped = threading.Event()
        self._tail = Tail(settings, ["control"])
        self._thread = threading.Thread(target=self._follow)

    def publish(self) -> None:
        """Write what the decider put out since the last time."""
        outputs = self.world.outputs[self._written :]
        self._written += len(outputs)
        for output in outputs:
            name = self._settings.topic(output.topic)
            partition = 0 if output.topic == "dead-letters" else self._partition
            self._producer.produce(name, output.value, output.key, partition)
        self._producer.flush(10)

    def _follow(self) -> None:
        while not self._stopped.is_set():
            for record in self._tail.poll(0.05):
                if record.value is not None:
                    self.world.send(CONTROL, record.value)
            self.publish()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._tail.close()
