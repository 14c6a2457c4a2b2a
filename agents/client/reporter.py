"""What a client says on `applied`: each change at once, a heartbeat to every partition, a goodbye.

It has a producer of its own: a rollback is confirmed as fast as ever while predictions queue up.
The broker's acknowledgements of heartbeats are also how the client knows that it still has a link.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from tidegate.agents.client.emitter import Emitter
from tidegate.agents.client.tables import InForce
from tidegate.agents.settings import Settings
from tidegate.schemas.events import Applied
from tidegate.schemas.partitioner import partition_of

GAP_SECONDS = 15.0
"""After so long without acknowledgement everything is said again: deciders may have forgotten."""


class Reporter:
    """Confirmations and signs of life of one process."""

    def __init__(self, settings: Settings, client_id: str, instance: str) -> None:
        self._client_id = client_id
        self._instance = instance
        self.emitter = Emitter(settings, {
            "linger.ms": 0, "queue.buffering.max.messages": 10_000,
            "message.timeout.ms": 30_000,
        })
        self.partitions = 0
        self.acknowledged_at = float("-inf")
        self._unsaid: set[str] = set()
        self._all_unsaid = False

    def change(self, item: InForce) -> None:
        """Says what now runs of an experiment."""
        table = item.table
        models = None if table is None else {
            variant.model: variant.model_version for variant in table.routing.variants
        }
        self._unsaid.discard(item.experiment)
        applied = Applied(
            client_id=self._client_id, instance=self._instance, experiment=item.experiment,
            epoch=item.epoch, version=item.version, generation=item.generation,
            rolled_back=item.rolled_back, applied_at=_now_ms(), models=models,
            health="DEGRADED" if item.cut else "OK", breaker=item.cut, kind="CHANGE",
        )
        place = partition_of(item.experiment.encode(), self.partitions) if self.partitions else -1
        said = self.emitter.emit(
            "applied", item.experiment, applied, place, partial(self._said, item.experiment)
        )
        if said:
            self.emitter.poll()
        else:
            self._unsaid.add(item.experiment)

    def heartbeat(self, is_degraded: bool) -> None:
        """Says to every partition that the client is there."""
        for partition in range(self.partitions):
            self.emitter.emit(
                "applied", self._client_id, self._bare("HEARTBEAT", is_degraded), partition,
                self._acknowledged,
            )

    def say(self, word: Applied) -> bool:
        """Says what an instance has loaded; whether it is on its way."""
        if not self.partitions:
            return False
        place = partition_of(word.experiment.encode(), self.partitions)
        said = self.emitter.emit(
            "applied", word.experiment, word, place, self._acknowledged
        )
        self.emitter.poll()
        return said

    def goodbye(self) -> None:
        """Says to every partition that nobody need wait for it any more."""
        for partition in range(self.partitions):
            self.emitter.emit("applied", self._client_id, self._bare("GOODBYE", False), partition)

    def repeat(self, in_force: Mapping[str, InForce]) -> None:
        """Says again what did not arrive, or everything after a gap."""
        names = list(in_force) if self._all_unsaid else sorted(self._unsaid)
        self._all_unsaid = False
        for name in names:
            if name in in_force:
                self.change(in_force[name])

    def _bare(self, kind: str, is_degraded: bool) -> Applied:
        return Applied(
            client_id=self._client_id, instance=self._instance, experiment="", epoch=0, version=0,
            generation=0, applied_at=_now_ms(), kind=kind,
            health="DEGRADED" if is_degraded else "OK",
        )

    def _acknowledged(self, arrived: bool) -> None:
        if arrived:
            now = time.monotonic()
            if GAP_SECONDS < now - self.acknowledged_at < float("inf"):
                self._all_unsaid = True
            self.acknowledged_at = now

    def _said(self, experiment: str, arrived: bool) -> None:
        if arrived:
            self.acknowledged_at = time.monotonic()
        else:
            self._unsaid.add(experiment)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
