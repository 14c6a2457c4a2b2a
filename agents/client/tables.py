"""The tables a client obeys: largest (epoch, version) wins, rollbacks only grow, no lock to read.

Nothing here touches Kafka, disk or a clock. One thread at a time changes the store; readers take
`tables`, a map that is replaced whole and never changed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from tidegate.schemas.events import Control, Routing
from tidegate.streams.assignment import Artifact, Table, prepare
from tidegate.streams.routing import faults

ROLLBACKS_MAX = 1_000
"""Rolled-back variants remembered of generations to come, per experiment."""


@dataclass(slots=True)
class Known:
    """What was heard of one experiment.

    `rolled_back` maps a generation to the variants rolled back in it; older generations than the
    table's are forgotten. `partition` is where its records come from.
    """

    partition: int
    routing: Routing | None = None
    rolled_back: dict[int, set[str]] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class InForce:
    """What one client runs of one experiment: the word it gives on `applied`.

    `table` is None when only a rollback was heard: then nothing of the experiment runs.
    """

    experiment: str
    partition: int
    table: Table | None
    epoch: int
    version: int
    generation: int
    rolled_back: tuple[str, ...]
    cut: tuple[str, ...]


class Tables:
    """Routing tables and rollbacks as they come; `publish` makes them visible."""

    def __init__(self) -> None:
        self.in_force: Mapping[str, InForce] = {}
        self.counters: Counter[str] = Counter()
        self._known: dict[str, Known] = {}
        self._changed: set[str] = set()
        self._loaded: frozenset[Artifact] | None = None
        self._loaded_for: dict[str, frozenset[Artifact]] = {}
        self._lock = threading.Lock()

    def take_routing(self, routing: Routing, partition: int) -> None:
        """A record of `routing`: obeyed if sound and newer, else ignored and counted."""
        with self._lock:
            if faults(routing):
                self.counters["tables_refused"] += 1
                return
            known = self._known.setdefault(routing.experiment, Known(partition))
            old = known.routing
            if old is not None and _contradicts(old, routing):
                self.counters["tables_refused"] += 1
                return
            if old is None or (routing.epoch, routing.version) > (old.epoch, old.version):
                _forget(known, routing.generation)
                known.routing, known.partition = routing, partition
                self._changed.add(routing.experiment)
            else:
                self.counters["tables_ignored"] += 1
            if known.routing is not None and routing.generation >= known.routing.generation:
                self._roll_back(routing.experiment, known, routing.generation, routing.rolled_back)

    def take_control(self, control: Control, partition: int, timestamp_ms: int) -> None:
        """A record of `control`: a ROLLBACK is obeyed at once, everything else is the decider's.

        Args:
            timestamp_ms: the record's Kafka timestamp; a command that had expired has no effect.
        """
        variant = control.arguments.get("variant", "")
        if control.action != "ROLLBACK" or not variant:
            return
        if control.expires_at and timestamp_ms > control.expires_at:
            self.counters["rollbacks_expired"] += 1
            return
        with self._lock:
            known = self._known.setdefault(control.experiment, Known(partition))
            running = known.routing.generation if known.routing is not None else 0
            # Generation 0 means whichever runs, which only the decider can know afterwards.
            if control.generation == 0 or control.generation < running:
                self.counters["rollbacks_ignored"] += 1
                return
            if known.routing is not None and variant == known.routing.control:
                self.counters["rollbacks_ignored"] += 1
                return
            self._roll_back(control.experiment, known, control.generation, (variant,))

    def cut(self, experiment: str, variants: Collection[str]) -> InForce | None:
        """Withholds at once what this client's breaker cut, instead of what it cut before.

        Returns what is in force now, None when nothing changed.
        """
        with self._lock:
            item = self.in_force.get(experiment)
            if item is None or item.table is None or set(item.cut) == set(variants):
                return None
            self._known[experiment].cut = set(variants)
            # From what is in force, not from what was heard since: that may not be whole yet.
            table = prepare(
                item.table.routing, item.rolled_back, variants, self._answers(experiment)
            )
            changed = replace(item, table=table, cut=tuple(sorted(variants)))
            self.in_force = {**self.in_force, experiment: changed}
            return changed

    def load(self, loaded: Collection[Artifact] | None, experiment: str | None = None) -> None:
        """From now on this process can answer with these versions only; None: with all.

        Of an experiment that is named this word counts, of all others the one that names none.
        """
        with self._lock:
            wanted = None if loaded is None else frozenset(loaded)
            before = {name: self._answers(name) for name in self.in_force}
            if experiment is None:
                self._loaded = wanted
            elif wanted is None:
                self._loaded_for.pop(experiment, None)
            else:
                self._loaded_for[experiment] = wanted
            changed = {
                name: replace(item, table=prepare(
                    item.table.routing, item.rolled_back, item.cut, self._answers(name)
                ))
                for name, item in self.in_force.items()
                if item.table is not None and self._answers(name) != before[name]
            }
            if changed:
                self.in_force = {**self.in_force, **changed}

    def _answers(self, experiment: str) -> frozenset[Artifact] | None:
        """What can answer for an experiment here; None: everything."""
        return self._loaded_for.get(experiment, self._loaded)

    def publish(self) -> tuple[InForce, ...]:
        """Makes what has changed visible to readers, and returns it."""
        with self._lock:
            changed = tuple(self._in_force(name) for name in sorted(self._changed))
            self._changed.clear()
            if changed:
                self.in_force = {**self.in_force, **{item.experiment: item for item in changed}}
            return changed

    def known(self) -> list[tuple[str, int, Routing | None, dict[int, list[str]]]]:
        """(experiment, partition, table, rollbacks by generation): what a cache must hold."""
        with self._lock:
            return [
                (name, item.partition, item.routing,
                 {generation: sorted(names) for generation, names in item.rolled_back.items()})
                for name, item in sorted(self._known.items())
            ]

    def restore(
        self, experiment: str, partition: int, routing: Routing | None,
        rolled_back: Mapping[int, Collection[str]],
    ) -> None:
        """Takes over what `known` told, before anything was heard."""
        if routing is not None:
            self.take_routing(routing, partition)
        with self._lock:
            known = self._known.setdefault(experiment, Known(partition))
            for generation, names in rolled_back.items():
                self._roll_back(experiment, known, generation, names)

    def renew_lock(self) -> None:
        """After a fork the old lock may be held by a thread that is not there."""
        self._lock = threading.Lock()

    def _roll_back(
        self, experiment: str, known: Known, generation: int, names: Collection[str]
    ) -> None:
        held = known.rolled_back.setdefault(generation, set())
        fresh = set(names) - held
        if not fresh or len(held) + len(fresh) > ROLLBACKS_MAX:
            return
        held |= fresh
        self._changed.add(experiment)

    def _in_force(self, name: str) -> InForce:
        known = self._known[name]
        routing = known.routing
        if routing is None:
            generation = max(known.rolled_back)
            held = tuple(sorted(known.rolled_back[generation]))
            return InForce(name, known.partition, None, 0, 0, generation, held, ())
        rolled_back = known.rolled_back.get(routing.generation, set()) - {routing.control}
        table = prepare(routing, rolled_back, known.cut, self._answers(name))
        held = tuple(sorted(rolled_back | set(routing.rolled_back) - {routing.control}))
        return InForce(
            name, known.partition, table, routing.epoch, routing.version, routing.generation,
            held, tuple(sorted(known.cut)),
        )


def _contradicts(old: Routing, new: Routing) -> bool:
    """Within an epoch generations only rise with versions."""
    rises = (new.version - old.version) * (new.generation - old.generation)
    return new.epoch == old.epoch and rises < 0


def _forget(known: Known, generation: int) -> None:
    """Older generations' rollbacks, and with a new generation what the breaker had cut."""
    if known.routing is None or known.routing.generation != generation:
        known.cut = set()
    for old in [each for each in known.rolled_back if each < generation]:
        del known.rolled_back[old]
