"""From a person's rollback command to the last live client that obeys, in ms, on Apache Kafka.

    python -m benchmarks.rollback [--scenario calm,overload,down]

From the call that produces the command, on a producer that is connected, to the time at which
the last client tells its application that it has obeyed.

`calm`: all roles run. `overload`: three times as many events come as the joiner can join, on the
same broker. `down`: joiner and decider are killed; only the ticker runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.cluster import Cluster, cluster, flood
from benchmarks.experiments import table
from benchmarks.report import against, exit_by, heading, percentile, percentiles
from benchmarks.roles import environment, running
from benchmarks.workload import VARIANTS
from tidegate.agents.commands.orders import new_order
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas import codec
from tidegate.schemas.partitioner import partition_of

P50_MS_MUST, P99_MS_MUST = 100.0, 500.0
SCENARIOS = ("calm", "overload", "down")
_PROCESSES, _CLIENTS_EACH = 2, 2
CLIENTS = _PROCESSES * _CLIENTS_EACH
_PATIENCE_SECONDS = 30.0


@dataclass(slots=True)
class Fleet:
    """Serving processes, and when each client obeyed which rollback."""

    processes: list[subprocess.Popen[str]]
    obeyed: dict[str, list[float]] = field(default_factory=dict)
    ready: int = 0

    def follow(self, process: subprocess.Popen[str]) -> None:
        """Take what a process says until it ends."""
        assert process.stdout is not None
        for row in process.stdout:
            if row.startswith("READY"):
                self.ready += 1
            else:
                experiment, _, at = row.split()
                self.obeyed.setdefault(experiment, []).append(float(at))

    def wait(self, experiment: str) -> float:
        """When the last client obeyed.

        Raises:
            TimeoutError: one did not.
        """
        deadline = time.time() + _PATIENCE_SECONDS
        while time.time() < deadline:
            obeyed = self.obeyed.get(experiment, [])
            if len(obeyed) == CLIENTS:
                return max(obeyed)
            time.sleep(0.002)
        raise TimeoutError(f"{len(self.obeyed.get(experiment, []))} of {CLIENTS} clients obeyed")


@contextmanager
def fleet(settings: Settings) -> Iterator[Fleet]:
    """Start the serving processes and wait until their clients have read everything."""
    found = Fleet([
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving", str(_CLIENTS_EACH)],
            env=environment(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(_PROCESSES)
    ])  # fmt: skip
    for process in found.processes:
        threading.Thread(target=found.follow, args=(process,), daemon=True).start()
    deadline = time.time() + _PATIENCE_SECONDS
    while found.ready < _PROCESSES and time.time() < deadline:
        time.sleep(0.05)
    try:
        yield found
    finally:
        for process in found.processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(15)


def publish_tables(settings: Settings, names: list[str]) -> None:
    """Write routing tables as a decider would."""
    producer = new_producer(settings)
    for name in names:
        routing = table(name)
        key = f"{name}/{routing.epoch}/{routing.version:012d}".encode()
        partition = partition_of(name.encode(), settings.decision_partitions)
        producer.produce(settings.topic("routing"), codec.encode(routing), key, partition)
    producer.flush(10)


def measure(there: Cluster, scenario: str, commands: int) -> list[float]:
    """Latency of each command, ms."""
    settings = there.settings
    names = [f"{scenario}-{number}" for number in range(commands + 3)]
    publish_tables(settings, names)
    roles = ("ticker",) if scenario == "down" else ("ticker", "joiner", "decider")
    found = []
    producer = new_producer(settings, {"linger.ms": 0})
    with running(settings, there.folder, roles), fleet(settings) as serving:
        time.sleep(5)
        with flood(settings) if scenario == "overload" else _nothing():
            for name in names:
                order = new_order(name, "ROLLBACK", "bench", "benchmark",
                                  {"variant": VARIANTS[1]}, generation=1)  # fmt: skip
                value, key = codec.encode(order), name.encode()
                partition = partition_of(key, settings.decision_partitions)
                began = time.time()
                producer.produce(settings.topic("control"), value, key, partition)
                producer.poll(0)
                found.append((serving.wait(name) - began) * 1_000)
                time.sleep(0.1)
    # The first ones warm connections and caches.
    return found[3:]


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def main() -> None:
    """Measure each scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=100)
    parser.add_argument("--scenario", default=",".join(SCENARIOS))
    options = parser.parse_args()
    heading(f"Rollback command to last of {CLIENTS} clients obeying")
    reached = []
    for scenario in options.scenario.split(","):
        with cluster() as there:
            found = measure(there, scenario, options.commands)
        percentiles(scenario, found, "ms")
        p50, p99 = percentile(found, 0.5), percentile(found, 0.99)
        reached.append(against(f"{scenario} p50", p50, P50_MS_MUST, "ms", at_least=False))
        reached.append(against(f"{scenario} p99", p99, P99_MS_MUST, "ms", at_least=False))
    exit_by(reached)


if __name__ == "__main__":
    main()
