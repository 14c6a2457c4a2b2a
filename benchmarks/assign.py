"""`Client.assign()` while Kafka is away: percentiles of single calls, in microseconds.

The client starts by its disk cache, as a service does that starts during an outage, and goes on
trying to reach a broker that is not there.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path

from benchmarks.experiments import table
from benchmarks.report import against, exit_by, heading, line, percentile
from tidegate.agents.client import Client
from tidegate.agents.client.cache import Cache
from tidegate.agents.client.tables import Tables
from tidegate.agents.settings import Settings

P50_US_MUST, P99_US_MUST = 10.0, 50.0


def measure(client: Client, experiment: str, calls: int) -> list[float]:
    """Microseconds of each call."""
    units = [f"user-{number:07d}" for number in range(calls)]
    clock = time.perf_counter_ns
    found = []
    for unit in units:
        began = clock()
        client.assign(experiment, unit)
        found.append((clock() - began) / 1_000)
    return found


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200_000)
    options = parser.parse_args()
    heading(f"assign() without Kafka, {options.calls:,} calls")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(state_dir=Path(folder)).with_bootstrap("127.0.0.1:1")
        routing, tables = table(), Tables()
        tables.take_routing(routing, 0)
        tables.publish()
        Cache(settings.state_dir, settings.prefix, settings.bootstrap).save(
            tables, time.time_ns() // 1_000_000
        )
        with Client(settings=settings) as client:
            drawn = client.assign(routing.experiment, "user-1")
            assert drawn.routing_version == routing.version, "the cache was not read"
            measure(client, routing.experiment, 10_000)
            gc.collect()
            found = measure(client, routing.experiment, options.calls)
            line("shadows named by each call", len(drawn.shadow), "")
    exit_by([
        against("p50", percentile(found, 0.5), P50_US_MUST, "us", at_least=False),
        against("p99", percentile(found, 0.99), P99_US_MUST, "us", at_least=False),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
