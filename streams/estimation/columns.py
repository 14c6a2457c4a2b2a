"""A batch's columns as values per request: of which context, and what a measurement reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas.facts import AGREE_NO, AGREE_UNKNOWN, ObservationBatch
from tidegate.streams.estimation.agreement import agreements
from tidegate.streams.estimation.moments import BatchMoments, Floats, grouped
from tidegate.streams.estimation.plan import Measurement


class Values:
    """Values of one measurement in a batch, in the order of the facts.

    Args:
        contexts: context of each value, 0..number-1, shape (n,).
        values: shape (n,), finite.
        weights: shape (n,), positive; None: all 1.
        number: number of contexts of the batch.
    """

    __slots__ = ("_contexts", "_ends", "_rows", "_values", "moments")

    def __init__(
        self, contexts: NDArray[Any], values: Floats, weights: Floats | None, number: int
    ) -> None:
        self._contexts = contexts
        self._values = values
        self._ends: list[int] = []
        self._rows = contexts
        self.moments: Sequence[BatchMoments | None] = grouped(contexts, number, values, weights)
        """By context; None without values."""

    def of(self, contexts: Sequence[int]) -> Floats:
        """The values of some contexts, ascending numbers, in the order of the facts."""
        if not self._ends:
            self._rows = self._contexts.argsort(kind="stable")
            counts = np.bincount(self._contexts, minlength=len(self.moments))
            self._ends = [0, *counts.cumsum().tolist()]
        ends = self._ends
        parts = [self._rows[ends[number] : ends[number + 1]] for number in contexts]
        rows = parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))
        chosen: Floats = self._values[rows]
        return chosen


def values_of(
    batch: ObservationBatch, measurement: Measurement, score_tolerance: float = 0.0
) -> Values:
    """What a measurement reads of every request in the batch, whatever its experiment.

    Shadow answers agree with equal labels, or scores `score_tolerance` apart at most.
    """
    if measurement.source == "disagreement":
        return _disagreements(batch, measurement, score_tolerance)
    if measurement.source == "outcome":
        return _closed_values(batch, measurement)
    if measurement.source == "measure":
        return _measure_values(batch, measurement)
    table = batch.tables["exposure"]
    if measurement.source == "status":
        values = np.isin(table["status"], measurement.statuses).astype(np.float64)
    elif measurement.source == "latency_ms":
        values = table["latency"]
    else:
        values = table["score"]
    return _present(batch, measurement, table["context"], values, table["weight"])


def _disagreements(
    batch: ObservationBatch, measurement: Measurement, score_tolerance: float
) -> Values:
    """1 where a request and its shadow differ, 0 where not; of the context that ran unseen."""
    table = batch.tables["shadow"]
    found = agreements(table, score_tolerance)
    values = np.where(found == AGREE_UNKNOWN, np.nan, found == AGREE_NO)
    return _present(batch, measurement, table["shadow_context"], values, np.ones(len(values)))


def aggregates(batch: ObservationBatch, measurement: Measurement) -> NDArray[Any]:
    """The aggregate of what came to each closed request, or the default; NaN without either."""
    closed, metrics = batch.tables["closed"], batch.tables["closed_metric"]
    default = np.nan if measurement.default is None else measurement.default
    values = np.full(len(closed["context"]), default)
    chosen = metrics["metric"] == _name_index(batch, measurement.name)
    rows = metrics["row"][chosen]
    if measurement.aggregate == "mean":
        values[rows] = metrics["sum"][chosen] / metrics["count"][chosen]
    else:
        values[rows] = metrics[measurement.aggregate][chosen]
    return values


def _closed_values(batch: ObservationBatch, measurement: Measurement) -> Values:
    closed, values = batch.tables["closed"], aggregates(batch, measurement)
    return _present(batch, measurement, closed["context"], values, closed["weight"])


def _measure_values(batch: ObservationBatch, measurement: Measurement) -> Values:
    table, measures = batch.tables["exposure"], batch.tables["measure"]
    chosen = measures["name"] == _name_index(batch, measurement.measure)
    rows = measures["row"][chosen]
    return _present(
        batch, measurement, table["context"][rows], measures["value"][chosen],
        table["weight"][rows],
    )


def _present(
    batch: ObservationBatch, measurement: Measurement, contexts: NDArray[Any],
    values: NDArray[Any], weights: NDArray[Any],
) -> Values:  # fmt: skip
    """Leaves out what is absent, and clips what is there to the measurement's range."""
    absent = np.isnan(values)
    if absent.any():
        kept = ~absent
        contexts, values, weights = contexts[kept], values[kept], weights[kept]
    values = clipped(measurement, values.astype(np.float64, copy=False))
    plain = bool((weights == 1.0).all())
    return Values(
        contexts, values, None if plain else weights.astype(np.float64), len(batch.contexts)
    )


def clipped(measurement: Measurement, values: Floats) -> Floats:
    """Values within the measurement's range; NaN stays."""
    if measurement.low is None and measurement.high is None:
        return values
    return np.clip(values, measurement.low, measurement.high)


def _name_index(batch: ObservationBatch, name: str) -> int:
    return batch.names.index(name) if name in batch.names else -1
