"""Shadows: what was answered unseen, in the tallies of the variants that ran."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.streams.estimation.test_ledger import CONVERSION, ERRORS, PLAN
from tests.streams.estimation.test_scoring import REVENUE, by_hand, random_batch
from tidegate.schemas.canonical import canonical_json
from tidegate.streams.estimation import Ledger

SCORED = replace(
    PLAN, variants=("a", "b", "c"), measurements=(CONVERSION, ERRORS, REVENUE),
    objective="conversion",
)  # fmt: skip


def test_outcomes_are_paired_over_all_batches_of_the_running_generation() -> None:
    """Counts and moments are those of all rows together, of this generation and experiment only."""
    batches = [random_batch(seed, weighted=False) for seed in range(6)]
    ledger = Ledger(SCORED)
    for found in batches:
        ledger.observe(found)
    for number, variant in ((1, "b"), (2, "c")):
        rows = np.array([row for found in batches for row in by_hand(found, CONVERSION, number)])
        tally = ledger.shadows[variant]
        moments = tally.squared_error.moments()
        assert tally.scored == moments.n == len(rows)
        assert moments.mean == pytest.approx(rows[:, 0].mean())
        assert moments.variance == pytest.approx(rows[:, 0].var(ddof=1))
    assert ledger.shadows["a"].scored == 0


@pytest.mark.parametrize("objective", ["", "errors", "gone"])
def test_without_an_objective_of_outcomes_nothing_is_paired(objective: str) -> None:
    """No objective, one that predictions tell themselves, or one that is not measured."""
    ledger = Ledger(replace(SCORED, objective=objective))
    ledger.observe(random_batch(1, weighted=False))
    assert ledger.plan.scored is None
    assert all(tally.scored == 0 for tally in ledger.shadows.values())


def test_what_was_paired_survives_a_restart() -> None:
    """Equal state, equal bytes, at the cut and behind it."""
    one = Ledger(SCORED)
    one.observe(random_batch(1, weighted=True))
    stored = canonical_json(one.to_state())
    other = Ledger.from_state(SCORED, json.loads(stored))
    assert other.shadows["b"].scored == one.shadows["b"].scored > 0
    for ledger in (one, other):
        ledger.observe(random_batch(2, weighted=True))
    assert canonical_json(other.to_state()) == canonical_json(one.to_state()) != stored


def test_an_amended_objective_is_paired_anew() -> None:
    """Under another objective, or the same one read otherwise, what was paired is forgotten; any
    other change leaves it, and what shadows answered stays in either case."""
    changed = replace(CONVERSION, default=1.0)
    for plan, kept in (
        (replace(SCORED, score_tolerance=0.5), True),
        (replace(SCORED, objective="revenue"), False),
        (replace(SCORED, measurements=(changed, ERRORS, REVENUE)), False),
        (replace(SCORED, objective=""), False),
    ):
        ledger = Ledger(SCORED)
        ledger.observe(random_batch(1, weighted=False))
        before = ledger.shadows["b"].scored
        ledger.shadows["b"].pairs = 7
        ledger.amend(plan)
        assert before > 0
        assert ledger.shadows["b"].scored == (before if kept else 0)
        assert ledger.shadows["b"].squared_error.moments().n == (before if kept else 0)
        assert ledger.shadows["b"].pairs == 7
