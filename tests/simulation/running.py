"""Many schedules on several processes, and what they saw together."""

from __future__ import annotations

import gc
import math
import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tests.simulation import planted
from tests.simulation.playing import Result, run
from tests.simulation.schedule import draw
from tests.simulation.sometimes import ENOUGH, missing

Item = TypeVar("Item")
Found = TypeVar("Found")

CHUNK = 25
DEVIATION_MAX = 6.0
"""Draws deviate from their propensities by so many standard deviations at most: of ten thousand
million honest runs one deviates more."""


def _seconds() -> defaultdict[str, float]:
    return defaultdict(float)


@dataclass(slots=True)
class Summary:
    """What schedules came to together. `cpu_seconds` is the sum over all processes."""

    schedules: Counter[str] = field(default_factory=Counter)
    cpu_seconds: defaultdict[str, float] = field(default_factory=_seconds)
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[Result] = field(default_factory=list)
    deviation: float = 0.0
    variance: float = 0.0
    wall_seconds: float = 0.0

    def add(self, other: Summary) -> None:
        """Another part of the same run."""
        self.schedules += other.schedules
        for kind, seconds in other.cpu_seconds.items():
            self.cpu_seconds[kind] += seconds
        self.seen += other.seen
        self.failures += other.failures
        self.deviation += other.deviation
        self.variance += other.variance

    @property
    def standard_deviations(self) -> float:
        """I23 over all draws: how far they are from their propensities."""
        return abs(self.deviation) / math.sqrt(self.variance) if self.variance else 0.0

    @property
    def faults(self) -> list[str]:
        """Why the run as a whole is not good."""
        found = [f"seed {it.seed}: {it.violation}: {it.detail}" for it in self.failures]
        if self.standard_deviations > DEVIATION_MAX:
            found.append(f"I23: draws are {self.standard_deviations:.1f} standard deviations off")
        return found + [f"never seen: {name}" for name in missing(self)]


def run_seeds(seeds: range) -> Summary:
    """Schedules of some seeds, one after the other."""
    summary = Summary()
    # Collected once per part: what a schedule leaves behind is small.
    gc.collect()
    gc.disable()
    for seed in seeds:
        before = time.process_time()
        result = run(draw(seed))
        summary.schedules[result.kind] += 1
        summary.cpu_seconds[result.kind] += time.process_time() - before
        summary.seen += result.seen
        summary.deviation += result.draws[0]
        summary.variance += result.draws[1]
        if result.violation:
            summary.failures.append(result)
    gc.enable()
    return summary


def run_all(
    first: int,
    count: int,
    processes: int,
    progress: Callable[[int, int], None] | None = None,
    seconds_max: float = math.inf,
) -> Summary:
    """Schedules `first` to `first + count`; the same whatever the number of processes.

    Fewer, without a gap, once `seconds_max` are over; though not before everything must be seen.
    """
    began = time.monotonic()
    parts = [
        range(start, min(start + CHUNK, first + count))
        for start in range(first, first + count, CHUNK)
    ]
    whole, done = Summary(), 0
    for number, part in enumerate(_mapped(run_seeds, parts, processes)):
        whole.add(part)
        done += len(parts[number])
        if progress is not None:
            progress(done, len(whole.failures))
        if done >= ENOUGH and time.monotonic() - began > seconds_max:
            break
    whole.wall_seconds = time.monotonic() - began
    return whole


def _mapped(
    what: Callable[[Item], Found], items: list[Item], processes: int
) -> Iterator[Found]:
    if processes == 1:
        yield from map(what, items)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_begin) as pool:
        yield from pool.imap(what, items)


def _begin() -> None:
    # What was imported lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()


def hunt(name: str, first: int, count: int, to_the_end: bool = True) -> planted.Caught:
    """One planted bug against `count` schedules of its kinds; else up to the first that catches."""
    bug = planted.BUGS[name]
    caught, tried, at = Counter[str](), 0, -1
    with bug.planted():
        for seed in range(first, first + count * 8):
            schedule = draw(seed)
            if schedule.config.kind not in bug.kinds:
                continue
            tried += 1
            violation = run(schedule).violation
            if violation:
                caught[violation] += 1
                at = seed if at < 0 else at
            if tried == count or (at >= 0 and not to_the_end):
                break
    return planted.Caught(name, tried, at, caught)


def hunt_all(first: int, count: int, processes: int) -> Iterator[planted.Caught]:
    """Every planted bug, in the order of the list."""
    items = [(name, first, count) for name in planted.BUGS]
    yield from _mapped(_hunt, items, processes)


def _hunt(item: tuple[str, int, int]) -> planted.Caught:
    return hunt(*item)
