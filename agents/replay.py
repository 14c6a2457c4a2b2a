"""Replay: folds recorded topics again and compares; needs the topics and nothing that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tidegate.agents.bindings import recorded_bindings
from tidegate.agents.breaks import recorded_breaks
from tidegate.agents.decider import decider_factory
from tidegate.agents.engine import fingerprint
from tidegate.agents.joiner import joiner_factory
from tidegate.agents.kafka import Record, new_consumer, read_topic, watermarks
from tidegate.agents.recorded import RecordedLogs
from tidegate.agents.settings import Settings
from tidegate.schemas.breaks import Break
from tidegate.schemas.errors import LogTrimmed, UnknownSchemaId
from tidegate.schemas.partitioner import partition_of
from tidegate.streams.folding import PartitionFold
from tidegate.streams.merge import Fetched
from tidegate.streams.output import Output
from tidegate.streams.verification.decisions import Covered, DecisionAudit, first_covering
from tidegate.streams.verification.findings import Difference, Tally, total
from tidegate.streams.verification.observations import ObservationAudit

Place = tuple[str, int]
"""A log: topic without prefix, partition."""
Progress = Callable[[int], None]
"""Told how many records were read since it was told last."""

AUDITED: Final = (
    "decisions", "routing", "commands", "control", "applied", "observations",
    "predictions", "shadow-predictions", "outcomes",
)  # fmt: skip
"""Topics of an audit. In this order ends are asked for: what was written comes before what it was
written from, so that a running system is never found to have written more than its logs give."""


@dataclass(frozen=True, slots=True)
class Incomparable:
    """What cannot be compared, and why. It is never counted as equal."""

    topic: str
    partition: int
    why: str


@dataclass(slots=True)
class Report:
    """Outcome of an audit. `tallies` by topic; differences in the order of log time.

    `accepted` is what people accepted as lost of the logs that were read.
    """

    engine: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    incomparable: list[Incomparable] = field(default_factory=list)
    accepted: list[Break] = field(default_factory=list)
    first_observation: Difference | None = None
    first_decision: Covered | None = None
    records: int = 0
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether there was something, all of it was compared and nothing differs."""
        tallies = self.tallies.values()
        found = any(tally.recorded for tally in tallies)
        unread = any(tally.unreadable for tally in tallies)
        return found and not (self.differences or self.incomparable or unread)


class Replay:
    """An audit of all topics as they are when it begins.

    Args:
        experiment: compare only what concerns it; empty for all.
        since_ms, until_ms: tell only differences with log time in this half-open range.
        progress: told what was read, of `total` records.
    """

    def __init__(
        self,
        settings: Settings,
        experiment: str = "",
        since_ms: int = 0,
        until_ms: int | None = None,
        progress: Progress = lambda count: None,
    ) -> None:
        self._settings = settings
        self._experiment = experiment
        self._range_ms = (since_ms, until_ms)
        self._progress = progress
        self._bounds = _all_bounds(settings)
        # Asked for after the ends: what was written from the logs used no later binding.
        self._bindings = recorded_bindings(settings)
        self.report = Report(fingerprint(settings), accepted=recorded_breaks(settings))
        self._observations = ObservationAudit(self.report.engine)
        self._decisions: list[DecisionAudit] = []

    @property
    def total(self) -> int:
        """How many records will be read."""
        return sum(end - low for parts in self._bounds.values() for low, end in parts.values())

    def run(self) -> Report:
        """Fold everything again and compare.

        Raises:
            Unreachable: the broker was silent for too long.
            LogGap: a log has a hole.
        """
        began = time.monotonic()
        for partition in range(self._settings.decision_partitions):
            self._audit_decisions(partition)
        for partition in range(self._settings.partitions):
            self._audit_observations(partition)
        self._conclude()
        self.report.seconds = time.monotonic() - began
        return self.report

    # -- decisions: a function of control, applied and observations as recorded

    def _audit_decisions(self, partition: int) -> None:
        audit = DecisionAudit(partition, self.report.engine, self._experiment)
        self._decisions.append(audit)
        if self._experiment and partition != self._home():
            return
        handler = decider_factory(self._settings, self.report.engine, self._bindings)(
            partition, lambda output: audit.derived(output.topic, output.value)
        )
        with self._logs("decider", partition) as logs:
            needed = [(topic, partition) for topic in ("decisions", *logs.topics)]
            fold = PartitionFold(partition, len(logs.topics), handler)
            fold.accept(logs.gaps)

            def derive() -> None:
                if self._fold(fold, logs):
                    audit.finish()

            if self._in_time(lambda: self._take_recorded(audit, partition)):
                self._in_time(derive, needed)
            self._in_time(lambda: self._take_rest(logs))
        self._tell_cut("decisions", partition, needed)

    def _take_recorded(self, audit: DecisionAudit, partition: int) -> None:
        for topic in audit.tallies:
            for record in self._records(topic, partition):
                audit.recorded(topic, record.value, record.offset)

    def _take_rest(self, logs: RecordedLogs) -> None:
        for fetched in logs.rest("observations"):
            self._take_observations(fetched)
            self._read(len(fetched.values))

    def _take_observations(self, fetched: Fetched) -> None:
        for index, value in enumerate(fetched.values):
            if value is not None:
                self._observations.recorded(value, fetched.first_offset + index)

    # -- observations: a function of predictions, shadow predictions and outcomes

    def _audit_observations(self, partition: int) -> None:
        def compare(output: Output) -> None:
            if output.topic == "observations":
                self._observations.derived(partition, output.partition, output.value or b"")

        make = joiner_factory(self._settings, self.report.engine, self._bindings)
        handler = make(partition, compare)
        with self._logs("joiner", partition) as logs:
            needed = [(topic, partition) for topic in logs.topics]
            needed += [("observations", each) for each in self._bounds["observations"]]
            fold = PartitionFold(partition, len(logs.topics), handler)
            fold.accept(logs.gaps)

            def derive() -> None:
                if self._fold(fold, logs):
                    self._observations.finish(partition)

            self._in_time(derive, needed)
        self._tell_cut("observations", partition, needed)

    # -- both

    def _logs(self, role: str, partition: int) -> RecordedLogs:
        breaks = self.report.accepted
        return RecordedLogs(self._settings, role, partition, self._bounds, breaks)

    def _cut(self, places: Sequence[Place]) -> list[str]:
        """Logs that are not there from their beginning, and where they begin."""
        lows = [(topic, each, self._bounds[topic][each][0]) for topic, each in places]
        return [f"{topic}-{each} begins at offset {low}" for topic, each, low in lows if low > 0]

    def _tell_cut(self, concluded: str, partition: int, places: Sequence[Place]) -> None:
        cut = self._cut(places)
        if cut:
            why = f"earlier records are deleted: {', '.join(cut)}"
            self.report.incomparable.append(Incomparable(concluded, partition, why))

    def _in_time(self, read: Callable[[], None], needed: Sequence[Place] = ()) -> bool:
        """Reads, unless needed logs are cut; whether all was read before the broker deleted it."""
        if self._cut(needed):
            return False
        try:
            read()
        except LogTrimmed as trimmed:
            name = next(it for it in AUDITED if self._settings.topic(it) == trimmed.topic)
            end = self._bounds[name][trimmed.partition][1]
            self._bounds[name][trimmed.partition] = (trimmed.begins, end)
            return False
        return True

    def _fold(self, fold: PartitionFold, logs: RecordedLogs) -> bool:
        """Feed what the merge waits for until that log is at its end: nothing more may follow.

        Whether it came to that.
        """
        observations = logs.topics.index("observations") if "observations" in logs.topics else -1
        while (fetched := logs.read(rank := fold.merge.blocked_on())) is not None:
            if rank == observations:
                self._take_observations(fetched)
            self._read(len(fetched.values))
            fold.feed(rank, fetched)
            try:
                fold.drain()
            except UnknownSchemaId as unknown:
                # The worker waits at this place, too.
                topic = logs.topics[fold.merge.blocked_on()]
                why = f"{unknown} on the topic `schemas`: nothing behind it was folded"
                self.report.incomparable.append(Incomparable(topic, fold.partition, why))
                return False
        return True

    def _records(self, topic: str, partition: int) -> Iterator[Record]:
        """What is still there of a topic; all of it, if it holds decisions."""
        next_offset, end = self._bounds[topic][partition]
        while next_offset < end:
            bounds = {partition: next_offset}, {partition: end}
            try:
                for record in read_topic(self._settings, topic, [partition], *bounds):
                    if topic == "decisions" and record.offset > next_offset:
                        raise LogTrimmed(record.topic, partition, record.offset)
                    yield record
                    next_offset = record.offset + 1
                    self._read(1)
            except LogTrimmed as trimmed:
                if topic == "decisions":
                    raise
                next_offset = trimmed.begins
            else:
                break
        if topic == "decisions" and next_offset < end:
            raise LogTrimmed(self._settings.topic(topic), partition, end)

    def _read(self, count: int) -> None:
        self.report.records += count
        self._progress(count)

    def _home(self) -> int:
        return partition_of(self._experiment.encode(), self._settings.decision_partitions)

    def _conclude(self) -> None:
        report = self.report
        report.tallies = {"observations": self._observations.tally}
        for topic in self._decisions[0].tallies:
            report.tallies[topic] = total([audit.tallies[topic] for audit in self._decisions])
        since_ms, until_ms = self._range_ms
        report.differences = sorted(
            (
                difference
                for tally in report.tallies.values()
                for difference in tally.differences
                if since_ms <= difference.log_time_ms
                and (until_ms is None or difference.log_time_ms < until_ms)
            ),
            key=lambda difference: difference.log_time_ms,
        )
        for topic, tally in report.tallies.items():
            for engine, count in tally.other_engines.items():
                why = f"{count} records by engine {engine}, this is engine {report.engine}"
                report.incomparable.append(Incomparable(topic, -1, why))
        observed = [it for it in report.differences if it.topic == "observations"]
        if observed:
            report.first_observation = observed[0]
            made = self._decisions[observed[0].partition].decisions
            report.first_decision = first_covering(observed[0], made)


def _all_bounds(settings: Settings) -> dict[str, dict[int, tuple[int, int]]]:
    consumer = new_consumer(settings)
    try:
        return {topic: watermarks(settings, consumer, topic) for topic in AUDITED}
    finally:
        consumer.close()
