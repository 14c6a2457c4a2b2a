"""Open batches: facts gathered per observations partition, numbered, cut, and put out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tidegate.schemas.facts import NONE, ObservationBatch, encode_observation
from tidegate.schemas.partitioner import partition_of
from tidegate.streams.joining.attribution import MetricSummary
from tidegate.streams.joining.contexts import Interned, Interner, text_bytes
from tidegate.streams.joining.layout import (
    DOUBLES_ROW,
    HEAD_BYTES,
    IRREGULAR_ROW,
    MATCHED_ROW,
    METRIC_ROW,
    SHADOW_ROW,
)
from tidegate.streams.joining.settings import BATCH_BYTES, SILENCE_MS, JoinerSettings
from tidegate.streams.joining.tables import Rows, shared_and_tables
from tidegate.streams.output import Emit, Output

ROW_BYTES: Final = 61
DOUBLE_BYTES: Final = 16
SUMMARY_BYTES: Final = 52
"""What rows take in an observation, about; see `schemas.facts.COLUMNS`."""


@dataclass(slots=True)
class OpenBatch:
    """Facts of one observations partition since its last cut.

    `facts` counts exposures, shadows, matched, closed and irregular facts; `size` estimates the
    bytes of the record. `tails` and so on are the interned numbers already paid for in `size`.
    """

    partition: int
    sequence: int = 0
    last_cut_ms: int = 0
    facts: int = 0
    size: int = 0
    exposure_count: int = 0
    closed_count: int = 0
    rows: Rows = field(default_factory=Rows)
    tails: set[int] = field(default_factory=set)
    attributes: set[int] = field(default_factory=set)
    names: set[int] = field(default_factory=set)
    layouts: set[int] = field(default_factory=set)

    def begin(self, log_time_ms: int) -> None:
        """Begin anew, behind a cut."""
        self.sequence += 1
        self.last_cut_ms = log_time_ms
        self.facts = self.size = self.exposure_count = self.closed_count = 0
        self.rows = Rows()
        self.tails, self.attributes, self.names, self.layouts = set(), set(), set(), set()


class Batches:
    """The open batches of one source partition.

    `covers` is the next offset per input topic, `log_time_ms` the time up to which everything
    has been concluded; whoever feeds this keeps both right. Batches are cut behind the fact that
    filled them and at ticks, so cuts depend on the canonical order alone.
    """

    def __init__(
        self, partition: int, settings: JoinerSettings, engine: str, interned: Interned, emit: Emit
    ) -> None:
        self.covers = [0, 0, 0]
        self.log_time_ms = 0
        self.facts = 0
        self._partition = partition
        self._settings = settings
        self._engine = engine
        self._interned = interned
        self._emit = emit
        self._open = [OpenBatch(number) for number in range(settings.observation_partitions)]
        self._by_tail: dict[int, OpenBatch] = {}

    def exposure(self, key: bytes, state: bytes, tail: int, attributes: int, layout: int) -> None:
        """A request was answered; `state` is head and features, as in `layout`."""
        batch = self._by_tail.get(tail) or self._of(tail)
        rows = batch.rows
        if len(state) > HEAD_BYTES:
            rows.exposure_doubles.append(self._doubles(batch, batch.exposure_count, layout, state))
            rows.exposure_values.append(state[HEAD_BYTES:])
            state = state[:HEAD_BYTES]
        rows.exposures += (key, state)
        batch.exposure_count += 1
        if attributes not in batch.attributes:
            self._pay(batch, batch.attributes, self._interned.attributes, attributes)
        self._add(batch, tail)

    def measures(self, tail: int, layout: int, values: bytes) -> None:
        """What the exposure that follows cost."""
        batch = self._of(tail)
        rows = batch.rows
        rows.measure_doubles.append(self._doubles(batch, batch.exposure_count, layout, values, 0))
        rows.measure_values.append(values)

    def shadow(
        self, key: bytes, tail: int, shadow_tail: int, pair: tuple[float, float, int, float, float]
    ) -> None:
        """A shadow met its prediction; `pair` is score, shadow score, agree and both latencies."""
        batch = self._of(tail)
        batch.rows.shadows.append(SHADOW_ROW.pack(key, tail, shadow_tail, *pair))
        batch.size += text_bytes(self._interned.shadow_tails.items[shadow_tail])
        self._add(batch, tail)

    def matched(
        self, key: bytes, tail: int, metric: int, value: float, occurred_at_ms: int, source: int
    ) -> None:
        """An outcome was accepted; `source` may be `NONE`."""
        batch = self._by_tail.get(tail) or self._of(tail)
        batch.rows.matched.append(
            MATCHED_ROW.pack(key, tail, metric, value, occurred_at_ms, source)
        )
        if metric not in batch.names:
            self._pay(batch, batch.names, self._interned.names, metric)
        if source != NONE and source not in batch.names:
            self._pay(batch, batch.names, self._interned.names, source)
        self._add(batch, tail)

    def closed(
        self, key: bytes, state: bytes, tail: int, attributes: int, layout: int,
        summaries: Sequence[MetricSummary],
    ) -> None:  # fmt: skip
        """A request's deadline has passed; `state` is head and features."""
        batch = self._by_tail.get(tail) or self._of(tail)
        rows = batch.rows
        if len(state) > HEAD_BYTES:
            rows.closed_doubles.append(self._doubles(batch, batch.closed_count, layout, state))
            rows.closed_values.append(state[HEAD_BYTES:])
            state = state[:HEAD_BYTES]
        for summary in summaries:
            rows.summaries.append(METRIC_ROW.pack(batch.closed_count, *summary))
            batch.size += SUMMARY_BYTES
            if summary[0] not in batch.names:
                self._pay(batch, batch.names, self._interned.names, summary[0])
        rows.closed += (key, state)
        batch.closed_count += 1
        if attributes not in batch.attributes:
            self._pay(batch, batch.attributes, self._interned.attributes, attributes)
        self._add(batch, tail)

    def irregular(
        self, kind: int, stream: int, key: bytes, tail: int, metric: int, value: float
    ) -> None:
        """A record that does not count; `tail` of its prediction and `metric` may be `NONE`."""
        batch = self._of(tail)
        batch.rows.irregular.append(IRREGULAR_ROW.pack(kind, stream, key, tail, metric, value))
        if metric != NONE and metric not in batch.names:
            self._pay(batch, batch.names, self._interned.names, metric)
        self._add(batch, tail)

    def tick(self, log_time_ms: int) -> None:
        """Everything before `log_time_ms` has been concluded: cut what is due."""
        self.log_time_ms = log_time_ms
        for batch in self._open:
            patience_ms = self._settings.emit_interval_ms if batch.facts else SILENCE_MS
            if log_time_ms - batch.last_cut_ms >= patience_ms:
                self._cut(batch)

    def forget_tails(self) -> None:
        """Numbers of tails may now mean others."""
        self._by_tail.clear()

    def dump(self) -> tuple[list[Any], list[bytes]]:
        """JSON form of the heads, and the rows as blocks."""
        heads = [
            {
                "sequence": batch.sequence, "last_cut_ms": batch.last_cut_ms,
                "facts": batch.facts, "size": batch.size,
                "exposures": batch.exposure_count, "closed": batch.closed_count,
                "tails": sorted(batch.tails), "attributes": sorted(batch.attributes),
                "names": sorted(batch.names), "layouts": sorted(batch.layouts),
            }
            for batch in self._open
        ]  # fmt: skip
        return heads, [block for batch in self._open for block in batch.rows.dump()]

    def load(self, heads: Sequence[Mapping[str, Any]], blocks: Sequence[bytes]) -> None:
        """Become what `dump` told."""
        each = len(blocks) // len(heads)
        self._open = [
            OpenBatch(
                number, head["sequence"], head["last_cut_ms"], head["facts"], head["size"],
                head["exposures"], head["closed"],
                Rows.load(blocks[number * each : number * each + each]),
                set(head["tails"]), set(head["attributes"]), set(head["names"]),
                set(head["layouts"]),
            )
            for number, head in enumerate(heads)
        ]  # fmt: skip
        self._by_tail.clear()

    def _of(self, tail: int) -> OpenBatch:
        """The batch for facts about requests of `tail`; what has none goes by source partition."""
        if tail == NONE:
            return self._open[self._partition % len(self._open)]
        batch = self._by_tail.get(tail)
        if batch is None:
            found = self._interned.tails.items[tail]
            experiment = found.context.experiment.encode() if found else b""
            batch = self._open[partition_of(experiment, len(self._open))]
            self._by_tail[tail] = batch
        return batch

    def _doubles(
        self, batch: OpenBatch, row: int, layout: int, values: bytes, start: int = HEAD_BYTES
    ) -> bytes:
        count = (len(values) - start) // 8
        batch.size += DOUBLE_BYTES * count
        if layout not in batch.layouts:
            self._pay(batch, batch.layouts, self._interned.layouts, layout)
        return DOUBLES_ROW.pack(row, layout, count)

    @staticmethod
    def _pay(batch: OpenBatch, paid: set[int], interner: Interner[Any], number: int) -> None:
        paid.add(number)
        batch.size += text_bytes(interner.items[number])

    def _add(self, batch: OpenBatch, tail: int) -> None:
        if tail not in batch.tails and tail != NONE:
            found = self._interned.tails.items[tail]
            batch.tails.add(tail)
            batch.size += text_bytes(found.context if found else "")
        batch.size += ROW_BYTES
        batch.facts += 1
        if batch.facts >= self._settings.facts_per_batch or batch.size >= BATCH_BYTES:
            self._cut(batch)

    def _cut(self, batch: OpenBatch) -> None:
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
        self.facts += batch.facts
        batch.begin(self.log_time_ms)
        key = f"source/{self._partition}".encode()
        self._emit(Output("observations", batch.partition, key, encode_observation(observation)))
