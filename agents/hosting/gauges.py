"""What a worker shows of itself: to the watchdog, and to Prometheus.

Read from other threads than the event loop's: containers are copied before they are walked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from tidegate.agents.hosting.checkpoints import Checkpoints
from tidegate.agents.hosting.ends import Ends, LogEnd
from tidegate.agents.hosting.host import Host
from tidegate.agents.hosting.partitions import skipped_offsets
from tidegate.agents.hosting.publisher import Publisher
from tidegate.agents.metrics import Sample, fold_samples
from tidegate.agents.settings import Settings
from tidegate.agents.transport.counters import Counters
from tidegate.agents.watchdog import Observed, Progress
from tidegate.schemas.topics import merged_topics


class Gauges:
    """Reads host, publisher and checkpoints of one folding role."""

    def __init__(
        self,
        settings: Settings,
        role: str,
        engine: str,
        *,
        host: Host,
        publisher: Publisher,
        checkpoints: Checkpoints,
    ) -> None:
        self._role = role
        self._engine = engine
        self._host = host
        self._publisher = publisher
        self._checkpoints = checkpoints
        self._names = tuple(topic.name for topic in merged_topics(role))
        self.ends = Ends(settings, self._owned)
        self.loop_at = time.monotonic()
        self.transport = Counters()

    def observe(self) -> Observed:
        """What the watchdog judges."""
        progress = {}
        for partition, hosted in list(self._host.partitions.items()):
            for rank, name in enumerate(self._names):
                topic = self._host.topics[rank]
                progress[f"{topic}-{partition}"] = Progress(
                    position=hosted.fold.merge.fetch_offsets[rank],
                    end=self.ends.end(name, partition),
                    wanted=self._host.want(topic, partition, 0),
                )
        waiting = self._host.unread.alarms(self._host.partitions)
        return Observed(
            time.monotonic(), self.loop_at, progress, self.tick_age(), waiting,
            dict(self._host.statistics.misplaced), self.transport.group_at,
        )  # fmt: skip

    def tick_age(self) -> float | None:
        """Seconds from log time to the clock, the worst of the live partitions; None without.

        Of one that waits for a schema id it would say nothing about tickers.
        """
        owned = list(self._host.partitions.values())
        live = [hosted for hosted in owned if hosted.live and hosted.unknown_id is None]
        if not live:
            return None
        return time.time() - min(hosted.fold.log_time_ms for hosted in live) / 1_000

    def samples(self, healthy: bool) -> Iterator[Sample]:
        """Everything there is to scrape."""
        yield Sample("tidegate_engine_info", 1, (self._role, self._engine))
        yield Sample("tidegate_healthy", healthy)
        tick_age = self.tick_age()
        if tick_age is not None:
            yield Sample("tidegate_tick_age_seconds", tick_age)
        yield from self._partition_samples()
        for partition, (sent, acknowledged) in self._publisher.counts().items():
            yield Sample("tidegate_outputs_total", sent, (str(partition),))
            yield Sample("tidegate_outputs_acknowledged_total", acknowledged, (str(partition),))
        for reason, count in sorted(self._publisher.dead_letters.items()):
            yield Sample("tidegate_dead_letters_total", count, (reason,))
        yield Sample("tidegate_fetched_records_total", self.transport.records)
        yield Sample("tidegate_fetch_pauses_total", self.transport.pauses)
        yield Sample("tidegate_fetches_dropped_total", self.transport.discarded)
        yield Sample("tidegate_group_errors_total", self.transport.coordination_errors)
        checkpoints, host = self._checkpoints.statistics, self._host.statistics
        yield Sample("tidegate_checkpoints_total", checkpoints.written)
        yield Sample("tidegate_checkpoint_written_bytes_total", checkpoints.bytes_written)
        yield Sample("tidegate_checkpoint_write_seconds_total", checkpoints.write_seconds)
        yield Sample("tidegate_checkpoint_conflicts_total", checkpoints.conflicts)
        yield Sample("tidegate_checkpoint_pause_seconds_total", host.checkpoint_pause_seconds)
        yield Sample("tidegate_sampled_keys_total", host.sampled_keys)
        yield Sample("tidegate_misplaced_keys_total", host.misplaced_keys)

    def _partition_samples(self) -> Iterator[Sample]:
        partitions = list(self._host.partitions.items())
        yield Sample("tidegate_partitions", len(partitions))
        yield Sample("tidegate_live_partitions", sum(hosted.live for _, hosted in partitions))
        for partition, hosted in partitions:
            label = str(partition)
            yield Sample("tidegate_released_records_total", hosted.fold.released, (label,))
            yield from fold_samples(partition, hosted.fold.handler.counters())
            for name, skipped in zip(self._names, skipped_offsets(hosted.fold), strict=True):
                yield Sample("tidegate_skipped_offsets_total", skipped, (name, label))
            for name, position in zip(self._names, hosted.fold.merge.fetch_offsets, strict=True):
                end = self.ends.end(name, partition)
                if end is not None:
                    yield Sample("tidegate_lag_records", max(0, end - position), (name, label))

    def _owned(self) -> Iterator[LogEnd]:
        for partition in list(self._host.partitions):
            for name in self._names:
                yield name, partition
