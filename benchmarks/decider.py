"""The decider's pure part: facts per second, with the default statistics of eight experiments.

    python -m benchmarks.decider [--profile tottime]

Observations are what the joiner makes of the workload: exposures, shadow pairs, matched and
closed facts. How many facts a batch holds depends on the rate at which they came: the default is
that of a joiner at full speed.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time

from benchmarks.experiments import applications
from benchmarks.fold import Log, join, written
from benchmarks.report import against, exit_by, heading, line
from benchmarks.workload import BEGIN_MS, Workload
from tidegate.schemas import codec
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.partitioner import partition_of
from tidegate.streams.deciding.decider import Decider
from tidegate.streams.folding import PartitionFold
from tidegate.streams.output import Output

FACTS_PER_SECOND_MUST = 200_000
_PARTITIONS = 4
_TICK_MS = 100
_DRAIN_MS = 60_000
"""Ticks behind the last event, so that every request closes."""


def observed(workload: Workload) -> tuple[list[list[Log]], int]:
    """Logs of control, applied and observations by decision partition; number of facts."""
    inputs = written(workload)
    last_ms = workload.begin_ms + workload.length_ms
    for log in (log for ranked in inputs for log in ranked):
        for tick_ms in range(last_ms, last_ms + _DRAIN_MS, _TICK_MS):
            log.tick(tick_ms)
    emitted: list[Output] = []
    join(inputs, emitted)
    logs = [[Log() for _ in range(3)] for _ in range(_PARTITIONS)]
    for log in (log for ranked in logs for log in ranked):
        log.tick(workload.begin_ms - 1)
    for order in applications():
        place = partition_of(order.experiment.encode(), _PARTITIONS)
        logs[place][0].values.append(codec.encode(order))
    facts = 0
    timed = []
    for output in emitted:
        if output.topic == "observations" and output.value is not None:
            batch = decode_observation(output.value)
            facts += sum(map(batch.count, ("exposure", "shadow", "matched", "closed", "irregular")))
            timed.append((batch.log_time_ms, output.partition, output.value))
    _write_in_time(logs, sorted(timed, key=lambda item: item[0]))
    return logs, facts


def _write_in_time(logs: list[list[Log]], timed: list[tuple[int, int, bytes]]) -> None:
    """Batches between the ticks at which they were cut."""
    tick_ms = BEGIN_MS
    for log_time_ms, partition, value in timed:
        while tick_ms <= log_time_ms:
            for log in (log for ranked in logs for log in ranked):
                log.tick(tick_ms)
            tick_ms += _TICK_MS
        logs[partition][2].values.append(value)
    for log in (log for ranked in logs for log in ranked):
        log.tick(tick_ms)


def decide(logs: list[list[Log]], emitted: list[Output]) -> int:
    """Fold all decision partitions; how many decisions were made."""
    for number, ranked in enumerate(logs):
        decider = Decider(number, _PARTITIONS, _PARTITIONS, emitted.append, "engine")
        fold = PartitionFold(number, len(ranked), decider, None, 300_000)
        while True:
            rank = fold.merge.blocked_on()
            offset = fold.merge.fetch_offsets[rank]
            if offset == len(ranked[rank].values):
                break
            fold.feed(rank, ranked[rank].fetch(offset))
            fold.drain()
    return sum(output.topic == "decisions" for output in emitted)


def main() -> None:
    """Measure, or profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=300_000)
    parser.add_argument("--rate", type=int, default=100_000, help="events per second of log time")
    parser.add_argument("--features", type=int, default=0)
    parser.add_argument("--profile", choices=("tottime", "cumtime"), default="")
    options = parser.parse_args()
    workload = Workload(options.predictions, options.rate, options.features)
    logs, facts = observed(workload)
    batches = sum(len(ranked[2].values) - len(ranked[2].marks) for ranked in logs)
    heading(f"Decider without Kafka: {facts:,} facts in {batches:,} batches, 8 experiments")
    best = 0.0
    for _ in range(1 if options.profile else 3):
        emitted: list[Output] = []
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        began = time.process_time()
        decisions = decide(logs, emitted)
        rate = facts / (time.process_time() - began)
        profile.disable()
        best = max(best, rate)
        line("facts", rate, "per second", f"of processor time; {decisions} decisions")
        if options.profile:
            pstats.Stats(profile).sort_stats(options.profile).print_stats(45)
    exit_by([against("best", best, FACTS_PER_SECOND_MUST, "facts/s", at_least=True)])


if __name__ == "__main__":
    main()
