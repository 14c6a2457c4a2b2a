"""The joiner's whole job on a real Apache Kafka, against the same join by others, in one run.

    python -m benchmarks.joiner [--peers joiner,hand_loop,kafka_streams,stock_faust] [--repeat 3]

Topics are filled before; the broker has one core, each program the other, one after the other
and round by round, so that what else the machine does falls on all of them. The output of each
program is counted against what went in.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.cluster import (
    Cluster,
    Run,
    cluster,
    count_pairs,
    fresh_topics,
    prefill,
    run_program,
)
from benchmarks.peers.job import EARLY_MS, Job
from benchmarks.peers.kafka_streams import command as kafka_streams
from benchmarks.report import against, exit_by, heading, line
from benchmarks.workload import REWARD_WAIT_MS, Workload
from tidegate import schemas
from tidegate.infra.brokers.base import create_by_admin

MUSTS = {"hand_loop": 0.65, "kafka_streams": 1.2, "stock_faust": 40.0}
EVENTS_PER_SECOND_MUST = 100_000
_LIMIT_SECONDS = 900.0
_SCHEMAS = Path(schemas.__file__).parent / "avro"


def _module(name: str) -> Callable[[], Sequence[str]]:
    return lambda: (sys.executable, "-m", f"benchmarks.peers.{name}")


PEERS: dict[str, Callable[[], Sequence[str]]] = {
    "joiner": _module("joiner"),
    "hand_loop": _module("hand_loop"),
    "kafka_streams": kafka_streams,
    "stock_faust": _module("stock_faust"),
}

def main() -> None:
    """Fill, run round by round, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=500_000, help="half of the events")
    parser.add_argument("--rate", type=int, default=40_000, help="events per second of log time")
    parser.add_argument("--features", type=int, default=0)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--slow-events", type=int, default=60_000, help="for stock Faust")
    options = parser.parse_args()
    workload = Workload(options.predictions, options.rate, options.features)
    names = options.peers.split(",")
    commands = {name: PEERS[name]() for name in names}
    heading(f"Joiner on Apache Kafka: {workload.events:,} events, {options.features} features")
    with cluster() as there:
        began = time.monotonic()
        prefill(there.settings, workload)
        line("filled in", time.monotonic() - began, "s")
        runs: dict[str, list[Run]] = {name: [] for name in names}
        for _ in range(options.repeat):
            for name in names:
                wanted = options.slow_events if name == "stock_faust" else workload.events
                run = _run(there, name, commands[name], wanted, workload)
                runs[name].append(run)
                line(name, run.per_second, "events/s",
                     f"{run.per_cpu_second:,.0f} per second of processor time, "
                     f"{run.memory_mb:,.0f} MB, load {run.load:.1f}")  # fmt: skip
    exit_by(_compare(runs))


def _run(
    there: Cluster, name: str, command: Sequence[str], wanted: int, workload: Workload
) -> Run:
    """One program, from nothing; its output is counted when it read everything."""
    settings = there.settings
    group = f"{name}-{uuid.uuid4().hex[:8]}"
    job = Job(settings.bootstrap, settings.prefix, group, f"{group}-output", wanted)
    fresh_topics(settings, ["observations", "snapshots", "dead-letters"])
    create_by_admin(settings.bootstrap, {job.output: 4}, 1)
    with tempfile.TemporaryDirectory(dir=there.folder) as state:
        environment = {
            **job.environment(), "PEER_STATE": state, "PEER_SCHEMAS": str(_SCHEMAS),
            "PEER_WINDOW_MS": str(REWARD_WAIT_MS), "PEER_EARLY_MS": str(EARLY_MS),
        }  # fmt: skip
        run = run_program(command, environment, there.folder / f"{group}.log", _LIMIT_SECONDS)
    if wanted == workload.events:
        found = count_pairs(settings) if name == "joiner" else run.pairs
        if found != workload.pairs:
            raise RuntimeError(f"{name} joined {found:,} pairs of {workload.pairs:,}")
    return run


def _compare(runs: Mapping[str, list[Run]]) -> list[bool]:
    """Medians of the rounds, and the ratios that must be reached; on the clock they count."""
    if "joiner" not in runs:
        return []
    reached = []
    for title, rate in (("processor time", "per_cpu_second"), ("clock", "per_second")):
        rates = {name: median(getattr(run, rate) for run in done) for name, done in runs.items()}
        own = rates["joiner"]
        print(f"  -- by {title}")
        reached = [
            against("joiner", own, EVENTS_PER_SECOND_MUST, "events/s", at_least=True),
            *(
                against(f"joiner / {name}", own / rates[name], bound, "x", at_least=True)
                for name, bound in MUSTS.items()
                if name in rates
            ),
        ]
    return reached


if __name__ == "__main__":
    main()
