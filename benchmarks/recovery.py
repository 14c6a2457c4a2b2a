"""A joiner killed with a million requests pending: seconds until facts are live again.

From SIGKILL, at once followed by a new start, to the first moment at which the facts of every
source partition are at most half a second old, while requests go on coming. With more than a
million (`--pending 10000000`) the bounds are those of windows of hours, and the joiner's resident
memory is one of the figures.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.cluster import cluster, prefill
from benchmarks.memory import resident_bytes
from benchmarks.report import against, exit_by, heading, line
from benchmarks.roles import Observer, Role, Traffic, running
from benchmarks.watch import Watch
from benchmarks.workload import Workload
from tidegate.agents.kafka import read_topic

SECONDS_MUST, MANY_SECONDS_MUST, MANY_BYTES_MUST = 12.0, 60.0, 3e9
_MANY = 1_000_001
_WAIT_MS = 3_600_000
_BEHIND_MS = 500
_CATCH_UP_SECONDS_MAX = 3_600.0


def main() -> None:
    """Fill, catch up, checkpoint, kill, measure; several times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=1_000, help="events per second while killed")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    heading(f"Recovery with {options.pending:,} pending, {options.rate:,} events a second")
    found, resident, pauses = list[float](), list[float](), list[float]()
    open_max = max(2_000_000, options.pending)
    with cluster(checkpoint_seconds=10, open_max=open_max) as there:
        settings = there.settings
        filled = Workload(options.pending, 100_000, reward_wait_ms=_WAIT_MS)
        prefill(settings, filled, only=("predictions",))
        observer = Observer(settings)
        with running(settings, there.folder, ("ticker",)):
            log = there.folder / "joiner.log"
            joiner = Role(settings, "joiner", log)
            observer.wait_live(settings.partitions, _BEHIND_MS, _CATCH_UP_SECONDS_MAX)
            live = Workload(10**9, options.rate, reward_wait_ms=_WAIT_MS, seed=8,
                            begin_ms=time.time_ns() // 1_000_000)  # fmt: skip
            traffic = Traffic(settings, live)
            for _ in range(options.repeat):
                time.sleep(25)
                resident.append(resident_bytes(joiner.pid))
                pauses.append(Watch(joiner.pid, log).look().checkpoint_pause_ms)
                began = time.time()
                joiner.kill()
                joiner = Role(settings, "joiner", log)
                time.sleep(2 * _BEHIND_MS / 1_000)
                found.append(observer.wait_live(settings.partitions, _BEHIND_MS) - began)
                line("live again after", found[-1], "s")
                resident.append(resident_bytes(joiner.pid))
            traffic.close()
            joiner.stop()
        observer.close()
        checkpoints = sum(1 for _ in read_topic(settings, "snapshots"))
        assert checkpoints, "nothing was restored: no checkpoint was ever written"
        line("records on snapshots", checkpoints, "records")
    # On the clock, of a worker that catches up and then lives, on a machine with a broker on it.
    line("longest pause for a checkpoint", max(pauses), "ms")
    many = options.pending >= _MANY
    must = MANY_SECONDS_MUST if many else SECONDS_MUST
    reached = [against("slowest", max(found), must, "s", at_least=False)]
    megabytes = max(resident) / 1e6
    if many:
        bound = MANY_BYTES_MUST / 1e6
        reached.append(against("resident, joiner", megabytes, bound, "MB", at_least=False))
    else:
        line("resident, joiner", megabytes, "MB")
    exit_by(reached)


if __name__ == "__main__":
    main()
