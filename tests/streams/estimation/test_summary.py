"""Summary: what a batch says of each context, whoever asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.streams.estimation.batches import batch, context
from tests.streams.estimation.test_ledger import CONTEXTS, CONVERSION, PLAN, random_batch
from tidegate.schemas.facts import CLASSES, COLUMNS, STREAMS
from tidegate.streams.estimation import Ledger, Summary


def test_counts_are_those_of_the_columns() -> None:
    """By context, every count agrees with a look at the rows themselves."""
    found = random_batch(1)
    summary = Summary(found)
    for number in range(len(CONTEXTS)):
        rows = found.tables["exposure"]["context"] == number
        status = found.tables["exposure"]["status"][rows]
        assert summary.statuses[number] == [int((status == code).sum()) for code in range(4)]
        assert summary.inverse_propensity[number] == pytest.approx(2.0 * rows.sum())
        assert summary.closed[number] == (found.tables["closed"]["context"] == number).sum()
        matched = found.tables["matched"]["context"] == number
        assert summary.matched[number] == matched.sum()
    assert summary.shadows[1] == 9
    assert summary.shadow_failures[1] == 1
    assert summary.agreements(0.0)[1] == [2, 4, 3]
    late = STREAMS.index("outcome") * len(CLASSES) + CLASSES.index("late")
    assert summary.irregular[0][late] == 1
    assert sum(map(sum, summary.irregular)) == 2


def test_facts_with_a_context_are_all_counted_once() -> None:
    """Facts by context are all rows that tell of requests, but those without a context."""
    found = random_batch(2)
    kinds = [kind for kind, columns in COLUMNS.items() if ("context", "u4") in columns]
    rows = sum(map(found.count, kinds))
    assert sum(Summary(found).facts()) == rows - 1


def test_an_empty_batch_says_nothing() -> None:
    """No facts: zeros for every context, and no moments."""
    summary = Summary(batch((context("a"),), ("conversion",)))
    assert summary.facts() == [0]
    assert summary.early(0) == [None]
    assert summary.values(CONVERSION).moments == [None]


def test_measurements_that_read_the_same_are_read_once() -> None:
    """The same range of the same column is shared; another default or range is not."""
    summary = Summary(random_batch(3))
    assert summary.values(CONVERSION) is summary.values(replace(CONVERSION, goal="decrease"))
    assert summary.values(CONVERSION) is not summary.values(replace(CONVERSION, default=1.0))
    assert summary.values(CONVERSION) is not summary.values(replace(CONVERSION, high=2.0))


def test_sharing_a_summary_changes_nothing() -> None:
    """Two ledgers that share one end where each would have ended alone, to the last bit."""
    other = replace(PLAN, experiment="other", generation=2)
    shared = [Ledger(PLAN), Ledger(other)]
    alone = [Ledger(PLAN), Ledger(other)]
    for seed in range(5):
        found = random_batch(seed)
        summary = Summary(found)
        for one, two in zip(shared, alone, strict=True):
            one.observe(found, summary)
            two.observe(found)
    assert [item.to_state() for item in shared] == [item.to_state() for item in alone]
    assert np.sum([item.tallies["a"].exposures for item in shared]) > 0
