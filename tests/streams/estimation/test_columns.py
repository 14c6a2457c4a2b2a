"""Columns: each measurement finds its value of each request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.streams.estimation.batches import batch, context
from tidegate.streams.estimation.columns import cells_of, closed_values, exposure_values
from tidegate.streams.estimation.plan import Measurement

CONTEXTS = (context("a"), context("b"), context("a", version=2))
LEARNT = {0: ("a", (0, 1)), 2: ("a", (0, 2))}


def closed(metric: Mapping[str, Any], **columns: Any) -> Any:
    """Three closed requests; something came to the first and the last."""
    return batch(
        CONTEXTS, ("other", "value"),
        closed={"context": [0, 1, 2], **columns},
        closed_metric={"row": [0, 2], "metric": [1, 1], "count": [2, 4], **metric},
    )  # fmt: skip


AGGREGATES = {
    "first": [1.0, 2.0], "last": [3.0, 4.0], "sum": [5.0, 6.0], "min": [7.0, 8.0],
    "max": [9.0, 10.0],
}  # fmt: skip


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [*AGGREGATES.items(), ("count", [2.0, 4.0]), ("mean", [2.5, 1.5])],
)
def test_every_aggregate_is_read_from_its_column(aggregate: str, expected: list[float]) -> None:
    """The spec chooses which summary of a request's outcomes is its value."""
    found = closed(AGGREGATES)
    item = Measurement("value", "outcome", "increase", aggregate=aggregate)
    values = closed_values(found, cells_of(found, LEARNT), item)
    assert values.values.tolist() == expected
    assert values.cells.tolist() == [0, 1]


def test_without_outcome_the_default_counts_and_without_default_nothing() -> None:
    """Not yet is never zero: zero comes only from a default, at window close."""
    found = batch(CONTEXTS, ("value",), closed={"context": [0, 1, 2]})
    cells = cells_of(found, LEARNT)
    item = Measurement("value", "outcome", "increase", default=0.25)
    assert closed_values(found, cells, item).values.tolist() == [0.25, 0.25]
    assert not len(closed_values(found, cells, Measurement("value", "outcome", "increase")).values)
    absent = Measurement("absent", "outcome", "increase", default=1.0)
    assert closed_values(found, cells, absent).values.tolist() == [1.0, 1.0]


def test_values_are_clipped_and_weights_kept() -> None:
    """A value outside the range counts as the nearest end; weights go along unless all are 1."""
    found = closed({**AGGREGATES, "last": [-5.0, 900.0]}, weight=[2.0, 1.0, 1.0])
    item = Measurement("value", "outcome", "increase", low=0.0, high=500.0)
    values = closed_values(found, cells_of(found, LEARNT), item)
    assert values.values.tolist() == [0.0, 500.0]
    assert values.weights is not None
    assert values.weights.tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [("status", [1.0, 0.0, 1.0]), ("latency_ms", [10.0, 30.0]), ("score", [0.5, 0.7, 0.9])],
)
def test_predictions_carry_values_themselves(source: Any, expected: list[float]) -> None:
    """Fallback, error and time-out are failures; an absent latency is no value."""
    found = batch(
        CONTEXTS,
        exposure={
            "context": [0, 0, 2, 1], "status": [1, 0, 3, 2], "score": [0.5, 0.7, 0.9, 0.1],
            "latency": [10.0, np.nan, 30.0, 40.0],
        },
    )  # fmt: skip
    item = Measurement("m", source, "decrease")
    assert exposure_values(found, cells_of(found, LEARNT), item).values.tolist() == expected


def test_measures_are_found_by_name() -> None:
    """A measure's rows point into the exposures."""
    found = batch(
        CONTEXTS, ("cost", "cpu_ms"),
        exposure={"context": [1, 0]},
        measure={"row": [1, 1, 0], "name": [0, 1, 0], "value": [3.0, 99.0, 5.0]},
    )  # fmt: skip
    item = Measurement("m", "measure", "decrease", measure="cost")
    values = exposure_values(found, cells_of(found, LEARNT), item)
    assert (values.values.tolist(), values.cells.tolist()) == ([3.0], [0])
