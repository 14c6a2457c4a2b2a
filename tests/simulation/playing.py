"""Plays one schedule and checks everything; the only place that patches the clock and constants."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.simulation.audited import check_audit
from tests.simulation.copies import check_copies, check_order
from tests.simulation.decided import check_decided
from tests.simulation.decoding import read_each
from tests.simulation.invariants import Violation, hold
from tests.simulation.joined import check_caps, check_joined
from tests.simulation.planting import swapped
from tests.simulation.remembering import CHANGES
from tests.simulation.schedule import Schedule
from tests.simulation.serving import TIMED, Clock
from tests.simulation.steps import play
from tests.simulation.workers import reference
from tests.simulation.world import HEAL_ROUNDS, World
from tidegate.schemas.decoding.batch import BatchDecoder
from tidegate.streams import folding
from tidegate.streams.joining import changelog


@dataclass(slots=True)
class Result:
    """What came of a schedule. `violation` is empty when every invariant held."""

    seed: int
    kind: str
    violation: str = ""
    detail: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    draws: tuple[float, float] = (0.0, 0.0)
    trace: str = ""


def run(schedule: Schedule, trace: bool = False) -> Result:
    """The schedule's two phases, then every invariant."""
    result = Result(schedule.config.seed, schedule.config.kind)
    try:
        with np.errstate(all="raise", under="ignore"), _time_and_constants(schedule) as world:
            result.seen = world.seen
            _play(world, schedule)
            result.draws = world.sums()
            if trace:
                result.trace = trace_of(world)
    except Violation as violation:
        result.violation, result.detail = violation.name, violation.detail
    except Exception as error:
        result.violation, result.detail = "raised", f"{type(error).__name__}: {error}"
    return result


def _play(world: World, schedule: Schedule) -> None:
    for event in schedule.events:
        world.seen[f"event: {event.name}"] += 1
        play(world, event)
        # Whoever did nothing has as much open as before.
        for worker in world.busy:
            check_caps(worker, world.config.joining)
        world.busy.clear()
    rounds = world.heal()
    hold("I20", rounds < HEAL_ROUNDS, "still busy after", rounds, "rounds")
    derived = {}
    for role in world.roles:
        fold, outputs = reference(role, world.cluster, world.make, world.config.reference_limit)
        check_order(world, role)
        check_copies(world, role, fold, outputs)
        if role.name == "joiner":
            check_joined(world, role.partition, fold, outputs)
        else:
            check_decided(world, fold, outputs)
        derived[role] = outputs
    if schedule.config.audited:
        check_audit(world, derived)
        world.seen["audited"] += 1


@contextmanager
def _time_and_constants(schedule: Schedule) -> Iterator[World]:
    """Modules that read a clock read the world's; what is pure and slow is done once."""
    clock, level = Clock(), logging.root.manager.disable
    changes: list[tuple[Any, str, Any]] = [
        *((module, "time", clock) for module in TIMED),
        (folding, "CUT_RECORDS", schedule.config.cut_records),
        (folding, "SEGMENT_RECORDS", schedule.config.segment_records),
        (changelog, "SEGMENT_ROWS", 3),
        (changelog, "KEPT_SLACK", 3),
        *CHANGES,
    ]
    if not schedule.config.columns:
        changes.append((BatchDecoder, "_read", read_each))
    logging.disable(logging.CRITICAL)
    try:
        with swapped(*changes):
            world = World(schedule.config)
            clock.now_ms = world.now
            yield world
    finally:
        logging.disable(level)


def trace_of(world: World) -> str:
    """A digest of everything that was written and of every state."""
    hasher = hashlib.sha256()
    for place in sorted(world.cluster.logs):
        hasher.update(repr(place).encode())
        for entry in world.cluster.logs[place].entries:
            hasher.update(repr(entry).encode())
    for role in world.roles:
        hasher.update(world.alive(role).fold.dump())
    hasher.update(repr(sorted(world.seen.items())).encode())
    return hasher.hexdigest()
