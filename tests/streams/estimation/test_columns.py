"""Columns: each measurement finds its value of each request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.streams.estimation.batches import batch, context
from tidegate.streams.estimation.columns import values_of
from tidegate.streams.estimation.plan import Measurement

CONTEXTS = (context("a"), context("b"), context("a", version=2))
OURS = (0, 2)
"""Numbers of the contexts of variant a."""


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
    assert values_of(found, item).of(OURS).tolist() == expected


def test_without_outcome_the_default_counts_and_without_default_nothing() -> None:
    """Not yet is never zero: zero comes only from a default, at window close."""
    found = batch(CONTEXTS, ("value",), closed={"context": [0, 1, 2]})
    item = Measurement("value", "outcome", "increase", default=0.25)
    assert values_of(found, item).of(OURS).tolist() == [0.25, 0.25]
    nothing = values_of(found, Measurement("value", "outcome", "increase"))
    assert not len(nothing.of(OURS))
    assert nothing.moments == [None, None, None]
    absent = Measurement("absent", "outcome", "increase", default=1.0)
    assert values_of(found, absent).of(OURS).tolist() == [1.0, 1.0]


def test_values_are_clipped_and_weights_kept() -> None:
    """A value outside the range counts as the nearest end; weights go along unless all are 1."""
    found = closed({**AGGREGATES, "last": [-5.0, 900.0]}, weight=[2.0, 1.0, 1.0])
    item = Measurement("value", "outcome", "increase", low=0.0, high=500.0)
    values = values_of(found, item)
    assert values.of(OURS).tolist() == [0.0, 500.0]
    assert values.moments == [(2.0, 4.0, 0.0, 0.0), None, (1.0, 1.0, 500.0, 0.0)]


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
    assert values_of(found, Measurement("m", source, "decrease")).of(OURS).tolist() == expected


def test_measures_are_found_by_name() -> None:
    """A measure's rows point into the exposures."""
    found = batch(
        CONTEXTS, ("cost", "cpu_ms"),
        exposure={"context": [1, 0]},
        measure={"row": [1, 1, 0], "name": [0, 1, 0], "value": [3.0, 99.0, 5.0]},
    )  # fmt: skip
    item = Measurement("m", "measure", "decrease", measure="cost")
    assert values_of(found, item).of(OURS).tolist() == [3.0]


def test_values_of_several_contexts_keep_the_order_of_the_facts() -> None:
    """Detectors and quantiles see a variant's values as they came, under whichever table."""
    of = np.random.default_rng(1).integers(0, 3, size=200)
    scores = np.arange(200.0)
    found = batch(CONTEXTS, exposure={"context": of, "score": scores})
    values = values_of(found, Measurement("m", "score", "increase"))
    for chosen in ((0,), (1,), (0, 2), (0, 1, 2)):
        assert values.of(chosen).tolist() == scores[np.isin(of, chosen)].tolist()
