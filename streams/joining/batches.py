"""Open batches: facts gathered per observations partition, numbered, cut, and put out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tidegate.schemas.facts import NONE, ObservationBatch, encode_observation
from tidegate.schemas.partitioner import partition_of
from tidegate.streams.joining.attribution import MetricSummary, ScoredShadow
from tidegate.streams.joining.contexts import Interned
from tidegate.streams.joining.layout import (
    CLOSED_SHADOW_ROW,
    DOUBLES_ROW,
    HEAD_BYTES,
    IRREGULAR_ROW,
    METRIC_ROW,
    SHADOW_ROW,
)
from tidegate.streams.joining.settings import BATCH_BYTES, SILENCE_MS, JoinerSettings
from tidegate.streams.joining.tables import Rows, shared_and_tables
from tidegate.streams.output import Emit, Output

ROW_BYTES: Final = 61
DOUBLE_BYTES: Final = 16
SUMMARY_BYTES: Final = 52
CLOSED_SHADOW_BYTES: Final = 24
"""What rows take in an observation, about; see `schemas.facts.COLUMNS`."""


@dataclass(slots=True)
class OpenBatch:
    """Facts of one observations partition since its last cut, and the bytes that still fit in.

    `last_cut_ms` is when the last cut was due. What is concluded up to `told_ms` was put out
    before, under numbers below `told_number`.
    """

    partition: int
    sequence: int = 0
    last_cut_ms: int = 0
    room: int = BATCH_BYTES
    told_ms: int = 0
    told_number: int = 0
    rows: Rows = field(default_factory=Rows)


class Batches:
    """The open batches of one source partition.

    `covers` is the next offset per input topic, `log_time_ms` the time up to which everything
    has been concluded; whoever feeds this keeps both right. A fact takes its bytes from the room
    of its batch, and at least `least_cost`; a batch without room is cut. Batches are cut behind
    the fact that filled them and at ticks, so cuts depend on the canonical order alone.

    Rows are appended by the methods here, except where a call per record would cost too much:
    then the inner loop appends to `OpenBatch.rows` itself and calls `take`, or does as it does.
    """

    def __init__(
        self, partition: int, settings: JoinerSettings, engine: str, interned: Interned, emit: Emit
    ) -> None:
        self.covers = [0, 0, 0]
        self.log_time_ms = 0
        self.facts = 0
        self.least_cost = -(-BATCH_BYTES // settings.facts_per_batch)
        self.by_tail: dict[int, OpenBatch] = {}
        self._partition = partition
        self._settings = settings
        self._engine = engine
        self._interned = interned
        self._emit = emit
        self._open = [OpenBatch(number) for number in range(settings.observation_partitions)]

    def of(self, tail: int) -> OpenBatch:
        """The batch for facts about requests of `tail`; what has none goes by source partition."""
        if tail == NONE:
            return self._open[self._partition % len(self._open)]
        batch = self.by_tail.get(tail)
        if batch is None:
            experiment = self._interned.tails.get(tail).context.experiment
            batch = self._open[partition_of(experiment.encode(), len(self._open))]
            self.by_tail[tail] = batch
        return batch

    def exposure(self, key: bytes, state: bytes, tail: int, attributes: int, layout: int) -> None:
        """A request was answered; `state` is head and features, as in `layout`."""
        batch = self.of(tail)
        rows = batch.rows
        if len(state) > HEAD_BYTES:
            values = state[HEAD_BYTES:]
            rows.exposure_doubles.append(self._doubles(batch, len(rows.exposures), layout, values))
            rows.exposure_values.append(values)
        rows.exposures.append(key + state[:HEAD_BYTES])
        self.take(batch, tail, self._interned.attributes.costs[attributes])

    def measures(self, tail: int, layout: int, values: bytes) -> None:
        """What the exposure that follows cost."""
        batch = self.of(tail)
        rows = batch.rows
        rows.measure_doubles.append(self._doubles(batch, len(rows.exposures), layout, values))
        rows.measure_values.append(values)

    def shadow(
        self, key: bytes, tail: int, shadow_tail: int, pair: tuple[float, float, int, float, float]
    ) -> None:
        """A shadow met its prediction; `pair` is score, shadow score, agree and both latencies."""
        batch = self.of(tail)
        batch.rows.shadows.append(SHADOW_ROW.pack(key, tail, shadow_tail, *pair))
        self.take(batch, tail, self._interned.shadow_tails.costs[shadow_tail])

    def closed(
        self, key: bytes, state: bytes, tail: int, attributes: int, layout: int,
        summaries: Sequence[MetricSummary], shadows: Sequence[ScoredShadow],
    ) -> None:  # fmt: skip
        """A request's deadline has passed; `state` is head and features."""
        batch = self.by_tail.get(tail) or self.of(tail)
        cost = self.closed_shadows(batch, shadows) if shadows else 0
        rows = batch.rows
        row = len(rows.closed)
        cost += self._interned.attributes.costs[attributes]
        if len(state) > HEAD_BYTES:
            values = state[HEAD_BYTES:]
            rows.closed_doubles.append(self._doubles(batch, row, layout, values))
            rows.closed_values.append(values)
            state = state[:HEAD_BYTES]
        for summary in summaries:
            rows.summaries.append(METRIC_ROW.pack(row, *summary))
            cost += SUMMARY_BYTES + self._interned.names.costs[summary[0]]
        rows.closed.append(key + state)
        self.take(batch, tail, cost)

    def closed_shadows(self, batch: OpenBatch, shadows: Sequence[ScoredShadow]) -> int:
        """Shadows of the request that is told of next as closed; returns what they take.

        One that is too much for what is left begins a batch. Texts of its 256 shadows could
        take a third of one: a record would become too large if the batch was cut behind them.
        """
        costs = self._interned.shadow_tails.costs
        cost = sum(CLOSED_SHADOW_BYTES + costs[number] for number, _ in shadows)
        if cost > batch.room:
            self.cut(batch)
        row = len(batch.rows.closed)
        batch.rows.closed_shadows += [CLOSED_SHADOW_ROW.pack(row, *each) for each in shadows]
        return cost

    def irregular(
        self, kind: int, stream: int, key: bytes, tail: int, metric: int, value: float
    ) -> None:
        """A record that does not count; `tail` of its prediction and `metric` may be `NONE`."""
        batch = self.of(tail)
        batch.rows.irregular.append(IRREGULAR_ROW.pack(kind, stream, key, tail, metric, value))
        self.take(batch, tail, self._interned.names.costs[metric] if metric != NONE else 0)

    def take(self, batch: OpenBatch, tail: int, cost: int) -> None:
        """Pay for a row about `tail` whose other texts cost `cost`; cut a batch that is full."""
        cost += ROW_BYTES
        if tail != NONE:
            cost += self._interned.tails.costs[tail]
        batch.room -= max(cost, self.least_cost)
        if batch.room <= 0:
            self.cut(batch)

    def tick(self, log_time_ms: int) -> None:
        """Everything before `log_time_ms` has been concluded: cut what is due."""
        self.log_time_ms = log_time_ms
        interval_ms = self._settings.emit_interval_ms
        for batch in self._open:
            patience_ms = SILENCE_MS if batch.room == BATCH_BYTES else interval_ms
            if log_time_ms - batch.last_cut_ms >= patience_ms:
                # From when the cut was due, up to half an interval ago: else every other tick
                # comes a millisecond too early to cut, and facts wait for the next.
                due_ms = max(batch.last_cut_ms + interval_ms, log_time_ms - interval_ms // 2)
                self.cut(batch)
                batch.last_cut_ms = due_ms

    def cut(self, batch: OpenBatch) -> None:
        """Put the batch out and begin the next."""
        if 0 < self.log_time_ms <= batch.told_ms:
            self._drop(batch)
            return
        shared = shared_and_tables(batch.rows, self._interned)
        observation = ObservationBatch(
            source_partition=self._partition,
            partition=batch.partition,
            sequence=batch.sequence,
            engine=self._engine,
            log_time_ms=self.log_time_ms,
            covers=tuple(self.covers),
            contexts=shared.contexts,
            attributes=shared.attributes,
            names=shared.names,
            tables=shared.tables,
        )
        self.facts += batch.rows.facts()
        batch.sequence += 1
        self._drop(batch)
        key = f"source/{self._partition}".encode()
        self._emit(Output("observations", batch.partition, key, encode_observation(observation)))

    def told(self, told: Sequence[Sequence[int]]) -> None:
        """Input was lost behind what this partition had put out already: (log time ms, next
        number) per observations partition. The facts up to there are not told a second time.
        """
        for batch, (told_ms, number) in zip(self._open, told, strict=False):
            if number > batch.sequence and told_ms > self.log_time_ms:
                batch.told_ms, batch.told_number = told_ms, number

    def told_until(self, log_time_ms: int) -> list[int]:
        """Times up to `log_time_ms` at which something is news again, ascending."""
        return sorted({it.told_ms for it in self._open if 0 < it.told_ms <= log_time_ms})

    def speak(self) -> None:
        """All up to `log_time_ms` is concluded: what was told goes, the rest has new numbers."""
        for batch in self._open:
            if 0 < batch.told_ms <= self.log_time_ms:
                self._drop(batch)
                batch.sequence = max(batch.sequence, batch.told_number)
                batch.told_ms = batch.told_number = 0

    def _drop(self, batch: OpenBatch) -> None:
        batch.last_cut_ms = self.log_time_ms
        batch.room = BATCH_BYTES
        batch.rows = Rows()

    def forget_tails(self) -> None:
        """Numbers of tails may now mean others."""
        self.by_tail.clear()

    def dump(self) -> tuple[list[list[int]], list[bytes]]:
        """[sequence, last cut, room, told time and number] per batch, and the rows as blocks."""
        heads = [
            [each.sequence, each.last_cut_ms, each.room, each.told_ms, each.told_number]
            for each in self._open
        ]
        return heads, [block for batch in self._open for block in batch.rows.dump()]

    def load(self, heads: Sequence[Sequence[int]], blocks: Sequence[bytes]) -> None:
        """Become what `dump` told."""
        each = len(blocks) // len(heads)
        self._open = [
            OpenBatch(number, sequence, last_cut_ms, room, told_ms, told_number)
            for number, (sequence, last_cut_ms, room, told_ms, told_number) in enumerate(heads)
        ]
        for batch in self._open:
            start = batch.partition * each
            batch.rows = Rows.load(blocks[start : start + each])
        self.by_tail.clear()

    def _doubles(self, batch: OpenBatch, row: int, layout: int, values: bytes) -> bytes:
        count = len(values) // 8
        batch.room -= DOUBLE_BYTES * count + self._interned.layouts.costs[layout]
        return DOUBLES_ROW.pack(row, layout, count)
