"""Scoring: a shadow's squared error beside the answer's, row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.streams.estimation.batches import batch, context
from tests.streams.estimation.test_ledger import CONVERSION
from tidegate.schemas.facts import ObservationBatch
from tidegate.streams.estimation import Measurement
from tidegate.streams.estimation.moments import Sample
from tidegate.streams.estimation.scoring import squared_errors

REVENUE = Measurement("revenue", "outcome", "increase", aggregate="sum", low=-5.0, high=5.0)
CONTEXTS = (
    context("a"), context("b", 0, "SHADOW"), context("c", 0, "SHADOW"), context("a", generation=1),
    context("b", 0, "SHADOW", generation=1), context("b", 0, "SHADOW", experiment="other"),
)  # fmt: skip


def random_batch(seed: int, weighted: bool, closed: int = 300) -> ObservationBatch:
    """Closed requests with outcomes of two metrics, and no, one or two shadows each."""
    rng = np.random.default_rng(seed)
    of = rng.choice([0, 3], size=closed)
    metric_rows = np.flatnonzero(rng.random(2 * closed) < 0.4)
    rows, metrics = metric_rows // 2, metric_rows % 2
    count = rng.integers(1, 4, size=len(rows))
    values = rng.normal(0.0, 4.0, size=len(rows))
    shadow_rows = np.flatnonzero(rng.random(2 * closed) < 0.6) // 2
    size = len(shadow_rows)
    return batch(
        CONTEXTS, ("conversion", "revenue"),
        closed={
            "context": of,
            "weight": rng.choice([1.0, 10.0], size=closed) if weighted else np.ones(closed),
        },
        closed_metric={
            "row": rows, "metric": metrics, "count": count, "first": values > 0.0,
            "last": values, "sum": count * values, "min": values, "max": values,
        },
        closed_shadow={
            "row": shadow_rows, "shadow_context": rng.integers(1, 6, size=size),
            "score": rng.random(size), "shadow_score": rng.random(size),
        },
    )  # fmt: skip


def by_hand(found: ObservationBatch, item: Measurement, context_number: int) -> list[Any]:
    """(difference of squared errors, weight) of each row of a context, in plain Python."""
    tables, name = found.tables, found.names.index(item.name)
    metrics = {key: column.tolist() for key, column in tables["closed_metric"].items()}
    shadows = {key: column.tolist() for key, column in tables["closed_shadow"].items()}
    owner = CONTEXTS[context_number]
    rows = []
    for place, row in enumerate(shadows["row"]):
        answered = CONTEXTS[tables["closed"]["context"][row]]
        if shadows["shadow_context"][place] != context_number or (
            (answered.experiment, answered.generation) != (owner.experiment, owner.generation)
        ):
            continue
        came = [
            metrics[item.aggregate][number]
            for number, whose in enumerate(metrics["row"])
            if whose == row and metrics["metric"][number] == name
        ]
        outcome = came[0] if came else item.default
        if outcome is None:
            continue
        assert item.low is not None
        assert item.high is not None
        outcome = min(max(outcome, item.low), item.high)
        missed = (shadows["shadow_score"][place] - outcome) ** 2
        rows.append((missed - (shadows["score"][place] - outcome) ** 2,
                     float(tables["closed"]["weight"][row])))  # fmt: skip
    return rows


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("item", [CONVERSION, REVENUE, replace(CONVERSION, default=None)])
def test_differences_are_those_of_the_rows(item: Measurement, weighted: bool) -> None:
    """Each context's count, weighted mean and variance agree with a loop over the rows; a default
    counts where nothing came, values are within the range, and generations do not mix."""
    found = random_batch(1, weighted)
    scored = squared_errors(found, item)
    for number in range(1, len(CONTEXTS)):
        rows = by_hand(found, item, number)
        moments = scored.moments[number]
        assert scored.counts[number] == len(rows)
        if not rows:
            assert moments is None
            continue
        assert moments is not None
        sample = Sample()
        sample.merge(*moments)
        values, weights = np.array(rows).T
        mean = np.average(values, weights=weights)
        n = weights.sum() ** 2 / (weights**2).sum()
        spread = np.average((values - mean) ** 2, weights=weights) * n / (n - 1)
        assert sample.moments() == pytest.approx((n, mean, spread))
    assert scored.counts[0] == 0
    assert scored.counts[5] == 0
    assert min(scored.counts[number] for number in (1, 2, 4)) >= 5


def test_brier_scores_of_a_binary_metric() -> None:
    """Answered 0.2 and 0.9, unseen 0.5 and 0.6, came 0 and 1: Brier scores of 0.025 and 0.205."""
    one = np.ones(1)
    found = batch(
        CONTEXTS, ("conversion",), closed={"context": [0, 0]},
        closed_metric={"row": one, "metric": [0], "first": one},
        closed_shadow={
            "row": [0, 1], "shadow_context": [1, 1], "score": [0.2, 0.9],
            "shadow_score": [0.5, 0.6],
        },
    )  # fmt: skip
    moments = squared_errors(found, CONVERSION).moments[1]
    assert moments is not None
    assert moments[2] == pytest.approx(0.205 - 0.025)


def test_equal_scores_differ_by_nothing_however_large_outcomes_are() -> None:
    """The squares themselves would leave rounding errors; a small shift keeps its digits."""
    size = 4
    found = batch(
        CONTEXTS, ("revenue",), closed={"context": np.zeros(size)},
        closed_metric={"row": np.arange(size), "last": np.full(size, 1e9)},
        closed_shadow={
            "row": np.arange(size), "shadow_context": [1, 1, 2, 2],
            "score": np.full(size, 0.1), "shadow_score": [0.1, 0.1, 0.2, 0.2],
        },
    )  # fmt: skip
    item = Measurement("revenue", "outcome", "increase")
    equal, apart = (squared_errors(found, item).moments[number] for number in (1, 2))
    assert equal == (2.0, 2.0, 0.0, 0.0)
    assert apart is not None
    assert apart[2] == pytest.approx(0.1 * (0.3 - 2e9), rel=1e-12)
