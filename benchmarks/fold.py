"""The joiner's pure part, without Kafka: merge, decode, join, pack; one process, one core.

    python -m benchmarks.fold [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from dataclasses import dataclass, field

from benchmarks.report import heading, line
from benchmarks.workload import BEGIN_MS, Workload
from tidegate.schemas.marks import Mark, Tick
from tidegate.schemas.partitioner import partition_of
from tidegate.schemas.topics import merged_topics
from tidegate.streams.folding import PartitionFold
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.merge import Fetched
from tidegate.streams.output import Output

_PARTITIONS = 4
_FETCH_RECORDS = 500
_TICK_MS = 100


@dataclass(slots=True)
class Log:
    """A topic-partition as it was written, ticks and all."""

    values: list[bytes | None] = field(default_factory=list)
    marks: dict[int, Mark] = field(default_factory=dict)

    def tick(self, log_time_ms: int) -> None:
        """Write a tick."""
        self.marks[len(self.values)] = Tick(log_time_ms)
        self.values.append(None)

    def fetch(self, offset: int) -> Fetched:
        """The next records from `offset` on, as a transport gives them."""
        values = self.values[offset : offset + _FETCH_RECORDS]
        marks = [
            (index, self.marks[offset + index])
            for index, value in enumerate(values)
            if value is None
        ]
        return Fetched(offset, values, marks, lambda index: BEGIN_MS)


def written(workload: Workload) -> list[list[Log]]:
    """Logs by partition and rank, with ticks each 100 ms of the workload's time."""
    ranks = {topic.name: topic.rank for topic in merged_topics("joiner")}
    logs = [[Log() for _ in ranks] for _ in range(_PARTITIONS)]
    tick_ms = workload.begin_ms - _TICK_MS
    for event in workload.produced():
        while event.time_ms >= tick_ms:
            for log in (log for ranked in logs for log in ranked):
                log.tick(tick_ms)
            tick_ms += _TICK_MS
        logs[partition_of(event.key, _PARTITIONS)][ranks[event.topic]].values.append(event.value)
    for log in (log for ranked in logs for log in ranked):
        log.tick(tick_ms)
    return logs


def join(logs: list[list[Log]], emitted: list[Output]) -> int:
    """Fold all partitions, always feeding the log that holds the others up; number of events."""
    settings = JoinerSettings()
    folds = [
        PartitionFold(
            number, len(ranked), Joiner(number, settings, "engine", emitted.append), None, 300_000
        )
        for number, ranked in enumerate(logs)
    ]
    going = list(zip(folds, logs, strict=True))
    while going:
        for pair in list(going):
            fold, ranked = pair
            rank = fold.merge.blocked_on()
            offset = fold.merge.fetch_offsets[rank]
            if offset == len(ranked[rank].values):
                going.remove(pair)
                continue
            fold.feed(rank, ranked[rank].fetch(offset))
            fold.drain()
    return sum(fold.released for fold in folds)


def main() -> None:
    """Measure, or profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=20_000, help="events per second of log time")
    parser.add_argument("--features", type=int, default=0)
    parser.add_argument("--profile", choices=("tottime", "cumtime"), default="")
    options = parser.parse_args()
    workload = Workload(options.predictions, options.rate, options.features)
    logs = written(workload)
    heading(f"Joiner without Kafka: {workload.events:,} events at {options.rate:,} a second")
    for _ in range(1 if options.profile else 3):
        emitted: list[Output] = []
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        began = time.process_time()
        join(logs, emitted)
        seconds = time.process_time() - began
        profile.disable()
        line("events", workload.events / seconds, "per second", "of processor time")
        size = sum(len(item.value or b"") for item in emitted)
        line("observations", len(emitted), "records", f"{size / workload.events:.0f} bytes/event")
        if options.profile:
            pstats.Stats(profile).sort_stats(options.profile).print_stats(45)


if __name__ == "__main__":
    main()
