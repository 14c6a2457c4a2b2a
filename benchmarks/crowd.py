"""Ten times as many requests as may be open, none of them joined: memory, then recovery.

The worker is the one that is shipped, on a real Apache Kafka. When the crowd's windows are over it
must join as if nothing had been.

    python -m benchmarks.crowd [--open 50000]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cluster import cluster
from benchmarks.load import HORIZONS, REQUESTS, REWARD_WAIT_MS, Load, Sums, Templates, told
from benchmarks.report import against, exit_by, heading, line
from benchmarks.roles import running
from benchmarks.watch import Look, Watch, until
from benchmarks.workload import Workload
from tidegate.agents.settings import Settings

TIMES = 10
GROWTH_MB_MAX = 60.0
"""From twice the cap to ten times the cap; without a cap it would be at least twice as much."""
_AT_ONCE = 5_000
_SETTLE_SECONDS = 3.0
_PATIENCE_SECONDS = 600.0
_OTHER_ROUND = 2**20


@dataclass(slots=True)
class Crowd:
    """What came of it; `reached` was seen at twice the cap, `full` at ten times, memory in MB."""

    cap: int
    sent: int
    reached: Look
    full: Look
    last: Look
    everything: Sums
    told: Sums
    irregular: Counter[str]
    ended: bool

    @property
    def growth_mb(self) -> float:
        """What ten times the cap took more than twice the cap."""
        return self.full.memory_mb - self.reached.memory_mb

    @property
    def faults(self) -> list[str]:
        """What is not as it should be, by exact count; windows may end while the crowd comes."""
        expired = self.last.counts["prediction.expired"]
        wanted = {
            "records told otherwise than once": (self.everything.lacks(self.told), {}),
            "requests told as expired": (self.irregular["prediction.expired"], expired),
            "still pending": (self.last.pending, 0),
            "workers that ended": (int(self.ended), 0),
        }
        said = [f"{name}: {told}, not {it}" for name, (told, it) in wanted.items() if told != it]
        if max(self.reached.pending, self.full.pending) > self.cap:
            said.append("more are open than may be")
        if expired < self.sent / 2:
            said.append("there was no crowd")
        return said


def play(
    settings: Settings, folder: Path, *, open_max: int, wait_seconds: float, honest: int
) -> Crowd:
    """Send ten times what may be open, wait until it has closed, send `honest` events.

    `wait_seconds` is the crowd's reward wait, longer than it takes to be read.

    Raises:
        TimeoutError: the worker did not get that far.
    """
    settings = replace(settings, open_max=open_max, **HORIZONS)
    cap = open_max * settings.partitions
    begin_ms = time.time_ns() // 1_000_000
    crowd = Workload(_AT_ONCE, 100_000, reward_wait_ms=int(wait_seconds * 1_000), begin_ms=begin_ms)
    load = Load(settings, Templates(settings, crowd, only=("predictions",)).records())
    with (
        running(settings, folder, ("ticker", "joiner")) as roles,
        Watch(roles["joiner"].pid, folder / "joiner.log") as watch,
    ):
        looks = []
        for times in (2, TIMES):
            for number in _parts(times * cap - load.total):
                load.send(number)
            load.flush()
            until(lambda: watch.last.taken == load.total, _PATIENCE_SECONDS)
            time.sleep(_SETTLE_SECONDS)
            looks.append(watch.look())
        until(lambda: watch.last.pending == 0, wait_seconds + _PATIENCE_SECONDS)
        served = Workload(REQUESTS, 10 * REQUESTS, reward_wait_ms=REWARD_WAIT_MS, seed=8,
                          begin_ms=time.time_ns() // 1_000_000)  # fmt: skip
        after = Load(settings, Templates(settings, served).records(_OTHER_ROUND), load.sums)
        after.send(honest)
        after.flush()
        everything = load.total + after.total
        until(lambda: (watch.last.taken, watch.last.pending) == (everything, 0), _PATIENCE_SECONDS)
        time.sleep(1.0)
        ended = not roles["joiner"].alive
    reached, full = looks
    return Crowd(
        cap, load.total, reached, full, watch.last, load.sums, *told(settings), ended
    )


def _parts(number: int) -> Iterator[int]:
    for start in range(0, number, _AT_ONCE):
        yield min(_AT_ONCE, number - start)


def main() -> None:
    """Play it, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--open", type=int, default=50_000, help="requests, per partition")
    parser.add_argument("--wait", type=float, default=180.0, help="reward wait of the crowd, s")
    options = parser.parse_args()
    heading(f"{TIMES} times as many requests as may be open, none of them joined")
    with cluster() as there:
        found = play(
            there.settings, there.folder, open_max=options.open, wait_seconds=options.wait,
            honest=200_000,
        )  # fmt: skip
    line("requests that may be open", found.cap, "requests")
    line("requests sent", found.sent, "requests")
    line("given up at the cap", found.full.counts["prediction.expired"], "requests")
    line("memory at twice the cap", found.reached.memory_mb, "MB")
    line("memory at ten times the cap", found.full.memory_mb, "MB")
    print(f"  counts: {'; '.join(found.faults) or 'all exact'}")
    exit_by([
        against("memory's growth", found.growth_mb, GROWTH_MB_MAX, "MB", at_least=False),
        against("counts that are wrong", len(found.faults), 0, "", at_least=False),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
