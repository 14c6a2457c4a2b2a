"""Three times what a joiner can take, for minutes: memory, backlog, recovery, what is lost.

The worker is the one that is shipped, on a real Apache Kafka. It is stopped for most of each 50 ms
(SIGSTOP), so that a small machine can produce three times its capacity, and keep it on its disk.
Then the load falls to half of what the worker could take while held back, it is held back no
longer, and the clock runs until all that had piled up is taken.

    python -m benchmarks.overload [--minutes 10]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.cluster import cluster
from benchmarks.load import (
    HORIZONS,
    REQUESTS,
    REWARD_WAIT_MS,
    Load,
    Sums,
    Templates,
    Throttle,
    told,
)
from benchmarks.report import against, exit_by, heading, line
from benchmarks.roles import running
from benchmarks.watch import Look, Watch, until
from benchmarks.workload import Workload
from tidegate.agents.settings import Settings

TIMES = 3.0
GROWTH_MB_MAX = 60.0
"""How much higher memory may come after the first minute of steady state. The backlog is at least
ten times as much."""
RECOVERY_SECONDS_MAX = 600.0
WARM_SECONDS = 120.0
"""Until what is remembered has its size: in an overload log time passes at a third of its pace."""
_STEADY_SECONDS = 60.0
_REVIEW_SECONDS = 1.0
_LATELY_SECONDS = 2.5
_LONGER_SECONDS_MAX = 60.0
_LIVE_SECONDS = 30.0
_READY_SECONDS_MAX = 120.0
_CLOSING_SECONDS_MAX = 120.0


@dataclass(slots=True)
class Overload:
    """What came of it. Rates are records a second, memory is MB; `lost` is by fact."""

    capacity: float
    sent_rate: float
    taken_rate: float
    looks: list[Look]
    backlog: int
    recovery_seconds: float
    sent: Sums
    told: Sums
    irregular: Counter[str]
    ended: bool

    @property
    def times(self) -> float:
        """How many times what was taken was sent."""
        return self.sent_rate / self.taken_rate

    def memory(self, after_seconds: float) -> list[float]:
        """Memory at each look, from so long after the beginning of the overload."""
        begin = self.looks[0].at + after_seconds
        return [look.memory_mb for look in self.looks if look.at >= begin]

    @property
    def growth_mb(self) -> float:
        """Highest memory in the overload over its median in the first steady minute."""
        steady = self.memory(WARM_SECONDS)
        first = [
            look.memory_mb
            for look in self.looks
            if 0 <= look.at - self.looks[0].at - WARM_SECONDS < _STEADY_SECONDS
        ]
        return max(steady) - median(first)

    @property
    def lost(self) -> dict[str, int]:
        """Of what records are told otherwise than once each, and how many fewer."""
        return self.sent.lacks(self.told)

    @property
    def sound(self) -> bool:
        """Whether every record is told once, as what became of it, and the worker never ended."""
        return not (self.lost or self.ended)


def play(
    settings: Settings, folder: Path, *, seconds: float, share: float, probe_rate: float,
    enough: Callable[[Look], bool] = lambda _: True,
) -> Overload:
    """Measure what a joiner takes that runs for a `share` of the time, then send three times that,
    or three times what it takes meanwhile if that is more.

    `probe_rate` is more than it can take. The overload lasts for `seconds`, and up to a minute
    longer until `enough` of it is seen.

    Raises:
        TimeoutError: it did not come back.
    """
    settings = replace(settings, **HORIZONS)
    workload = Workload(
        REQUESTS, 10 * REQUESTS, reward_wait_ms=REWARD_WAIT_MS,
        begin_ms=time.time_ns() // 1_000_000,
    )  # fmt: skip
    load = Load(settings, Templates(settings, workload).records())
    with (
        running(settings, folder, ("ticker", "joiner")) as roles,
        Watch(roles["joiner"].pid, folder / "joiner.log") as watch,
    ):
        joiner = roles["joiner"]
        until(lambda: watch.last.tick_age < _LIVE_SECONDS, _READY_SECONDS_MAX)
        load.start()
        with Throttle(joiner.pid, share) as throttle:
            capacity = _capacity(load, watch, probe_rate, min(10.0, seconds))
            begin, sent_before = time.monotonic(), load.total
            _overload(load, watch, capacity, seconds, enough)
            sent_rate = (load.total - sent_before) / (time.monotonic() - begin)
            looks = watch.since(begin)
            taken_rate = _rate(looks)
            backlog = load.total - looks[-1].taken
            load.rate = capacity / 2
            throttle.lift()
        lifted, piled_up = time.monotonic(), load.total
        until(
            lambda: watch.last.taken >= piled_up or not joiner.alive,
            RECOVERY_SECONDS_MAX + seconds,
        )
        recovery_seconds = time.monotonic() - lifted
        load.rate = 0.0
        load.finish()
        until(lambda: _is_done(watch, load.total) or not joiner.alive, _CLOSING_SECONDS_MAX)
        time.sleep(1.0)
        ended = not joiner.alive
    return Overload(
        capacity, sent_rate, taken_rate, looks, backlog, recovery_seconds, load.sums,
        *told(settings), ended,
    )  # fmt: skip


def _capacity(load: Load, watch: Watch, probe_rate: float, seconds: float) -> float:
    """Records a second that the worker takes while more than it can take waits for it."""
    load.rate = probe_rate
    time.sleep(seconds / 2)
    begin = time.monotonic()
    time.sleep(seconds / 2)
    return _rate(watch.since(begin))


def _overload(
    load: Load, watch: Watch, capacity: float, seconds: float, enough: Callable[[Look], bool]
) -> None:
    """Send three times what is taken: on a shared machine that may be more than was measured."""
    end = time.monotonic() + seconds
    load.rate = TIMES * capacity
    while (left := end - time.monotonic()) > 0 or (
        left > -_LONGER_SECONDS_MAX and not enough(watch.last)
    ):
        time.sleep(min(_REVIEW_SECONDS, left) if left > 0 else _REVIEW_SECONDS)
        looks = watch.since(time.monotonic() - _LATELY_SECONDS)
        if len(looks) > 1:
            load.rate = TIMES * max(capacity, _rate(looks))


def _rate(looks: list[Look]) -> float:
    return (looks[-1].taken - looks[0].taken) / (looks[-1].at - looks[0].at)


def _is_done(watch: Watch, total: int) -> bool:
    last = watch.last
    return last.taken == total and last.pending == 0


def print_minutes(found: Overload) -> None:
    """Memory and backlog over time, a line a minute."""
    begin = found.looks[0].at
    for minute in range(int((found.looks[-1].at - begin) / 60) + 1):
        looks = [it for it in found.looks if minute * 60 <= it.at - begin < minute * 60 + 60]
        if looks:
            memory = [look.memory_mb for look in looks]
            print(
                f"  minute {minute + 1:<3} memory {min(memory):.0f} / {median(memory):.0f} /"
                f" {max(memory):.0f} MB (min, median, max), {looks[-1].taken:,} records taken,"
                f" {looks[-1].buffered:,} buffered, {looks[-1].tick_age:.0f} s behind",
                flush=True,
            )


def main() -> None:
    """Play it, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--share", type=float, default=0.15, help="of the time the worker runs")
    parser.add_argument("--probe", type=float, default=25_000, help="records a second")
    options = parser.parse_args()
    seconds = options.minutes * 60
    if seconds < WARM_SECONDS + _STEADY_SECONDS:
        parser.error("memory is steady after two minutes, so it takes three to see it grow")
    heading(f"A joiner under {TIMES:g} times its capacity for {options.minutes:g} minutes")
    with cluster() as there:
        found = play(
            there.settings, there.folder, seconds=seconds, share=options.share,
            probe_rate=options.probe,
        )  # fmt: skip
    print_minutes(found)
    line("capacity, measured before", found.capacity, "records/s")
    line("sent", found.sent_rate, "records/s")
    line("taken", found.taken_rate, "records/s")
    line("backlog at the end", found.backlog, "records")
    line("fetches paused", found.looks[-1].pauses, "times")
    line("records sent in all", sum(found.sent.counts.values()), "records")
    memory = found.memory(WARM_SECONDS)
    line("memory after two minutes, smallest", min(memory), "MB")
    line("median", median(memory), "MB")
    line("largest", max(memory), "MB")
    print(f"  lost or doubled: {found.lost or 'nothing'}; "
          f"irregular: {dict(found.irregular) or 'none'}")
    exit_by([
        against("times its capacity", found.times, 0.8 * TIMES, "", at_least=True),
        against("memory's growth", found.growth_mb, GROWTH_MB_MAX, "MB", at_least=False),
        against("backlog taken after", found.recovery_seconds, RECOVERY_SECONDS_MAX, "s",
                at_least=False),
        against("every record told once", float(found.sound), 1, "", at_least=True),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
