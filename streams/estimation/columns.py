"""A batch's columns as values per request: which rows belong to whom, and what they measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas.facts import ObservationBatch
from tidegate.streams.estimation.moments import Floats
from tidegate.streams.estimation.plan import Measurement
from tidegate.streams.estimation.strata import Key

Table = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of a batch: a variant under a routing version.

    `names[cell]` is (variant, key). `of_context[context]` is the cell, -1 when requests of that
    context are not learnt from or belong to another experiment.
    """

    names: tuple[tuple[str, Key], ...]
    of_context: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Values:
    """Values of one measurement in a batch: cell, value and weight of each; weights None: all 1."""

    cells: NDArray[np.int64]
    values: Floats
    weights: Floats | None


def cells_of(batch: ObservationBatch, learnt: Mapping[int, tuple[str, Key]]) -> Cells:
    """Cells of the contexts that are learnt from; `learnt` is context -> (variant, key)."""
    names = tuple(sorted(set(learnt.values())))
    index = {name: number for number, name in enumerate(names)}
    of_context = np.full(len(batch.contexts), -1, dtype=np.int64)
    for context, name in learnt.items():
        of_context[context] = index[name]
    return Cells(names, of_context)


def exposure_values(batch: ObservationBatch, cells: Cells, measurement: Measurement) -> Values:
    """Values of a measurement that the predictions themselves carry.

    A status counts as 1 unless it is OK: a fallback is the assigned variant's failure.
    """
    table = batch.tables["exposure"]
    if measurement.source == "measure":
        return _measure_values(batch, cells, measurement)
    if measurement.source == "status":
        values = (table["status"] != 0).astype(np.float64)
    elif measurement.source == "latency_ms":
        values = table["latency"]
    else:
        values = table["score"]
    return _learnt(cells.of_context[table["context"]], values, table["weight"], measurement)


def closed_values(batch: ObservationBatch, cells: Cells, measurement: Measurement) -> Values:
    """The aggregate of what came to each closed request, or the default."""
    closed, metrics = batch.tables["closed"], batch.tables["closed_metric"]
    default = np.nan if measurement.default is None else measurement.default
    values = np.full(len(closed["context"]), default)
    chosen = metrics["metric"] == _name_index(batch, measurement.name)
    rows = metrics["row"][chosen]
    if measurement.aggregate == "mean":
        values[rows] = metrics["sum"][chosen] / metrics["count"][chosen]
    else:
        values[rows] = metrics[measurement.aggregate][chosen]
    return _learnt(cells.of_context[closed["context"]], values, closed["weight"], measurement)


def _measure_values(batch: ObservationBatch, cells: Cells, measurement: Measurement) -> Values:
    table, measures = batch.tables["exposure"], batch.tables["measure"]
    chosen = measures["name"] == _name_index(batch, measurement.measure)
    rows = measures["row"][chosen]
    return _learnt(
        cells.of_context[table["context"][rows]], measures["value"][chosen],
        table["weight"][rows], measurement,
    )


def _learnt(
    cells: NDArray[np.int64], values: NDArray[Any], weights: NDArray[Any], measurement: Measurement
) -> Values:
    kept = (cells >= 0) & ~np.isnan(values)
    if not kept.all():
        cells, values, weights = cells[kept], values[kept], weights[kept]
    values = values.astype(np.float64, copy=False)
    if measurement.low is not None or measurement.high is not None:
        values = np.clip(values, measurement.low, measurement.high)
    plain = bool((weights == 1.0).all())
    return Values(cells, values, None if plain else weights.astype(np.float64))


def _name_index(batch: ObservationBatch, name: str) -> int:
    return batch.names.index(name) if name in batch.names else -1
