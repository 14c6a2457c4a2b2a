"""The ledger: everything is counted, SPLIT is learnt from, state is exact."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.streams.estimation.batches import EXPERIMENT, GENERATION, batch, context
from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.facts import ObservationBatch
from tidegate.streams.estimation import Ledger, Measurement, Plan

CONVERSION = Measurement(
    "conversion", "outcome", "increase", True, "first", 0.0, 0.0, 1.0, drift=("adwin",)
)
ERRORS = Measurement("errors", "status", "decrease", True, low=0.0, high=1.0, drift=("adwin",))
LATENCY = Measurement("latency", "latency_ms", "decrease", quantile=0.9, bounds=(120.0,))
PLAN = Plan(EXPERIMENT, GENERATION, ("a", "b"), (CONVERSION, ERRORS, LATENCY))

CONTEXTS = (
    context("a"), context("b"), context("b", reason="OVERRIDE"), context("b", version=2),
    context("a", generation=1), context("a", experiment="other"), context("stranger"),
)  # fmt: skip


def random_batch(seed: int, rows: int = 400) -> ObservationBatch:
    """A batch with all kinds of facts, over all contexts."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, len(CONTEXTS), size=rows)
    came = np.flatnonzero(rng.random(rows) < 0.3)
    ones = np.ones(len(came))
    return batch(
        CONTEXTS, ("conversion",),
        exposure={
            "context": of, "status": rng.choice(4, size=rows, p=[0.9, 0.02, 0.05, 0.03]),
            "latency": rng.exponential(60.0, size=rows), "propensity": np.full(rows, 0.5),
        },
        closed={"context": of},
        closed_metric={
            "row": came, "metric": np.zeros(len(came)), "count": ones, "first": ones, "last": ones,
            "sum": ones, "min": ones, "max": ones,
        },
        matched={"context": of[came], "metric": np.zeros(len(came)), "value": ones},
        shadow={
            "context": np.zeros(9), "shadow_context": np.full(9, 1),
            "agree": [0, 0, 1, 1, 1, 1, 2, 2, 2], "shadow_status": [0] * 8 + [2],
        },
        irregular={
            "class": [1, 2, 3], "context": [0, 4_294_967_295, 1], "stream": [2, 2, 0],
            "metric": [0, 0, 4_294_967_295], "value": [1.0, 1.0, np.nan],
        },
    )  # fmt: skip


def test_everything_is_counted_and_only_split_is_learnt_from() -> None:
    """Overrides count as exposures and reasons, and touch no statistic."""
    found = random_batch(1)
    of = found.tables["exposure"]["context"]
    ledger = Ledger(PLAN)
    ledger.observe(found)
    tally = ledger.tallies["b"]
    split, override = int(np.isin(of, [1, 3]).sum()), int((of == 2).sum())
    assert tally.reasons == {"SPLIT": split, "OVERRIDE": override}
    assert (tally.exposures, tally.closed) == (split + override, split + override)
    assert sum(tally.statuses.values()) == tally.exposures
    assert tally.learnt == ledger.learnt("b") == split
    assert tally.inverse_propensity == 2.0 * split
    assert tally.opportunities == int(np.isin(of, [0, 1, 3]).sum())
    assert ledger.moments("errors", "b").n == split
    assert ledger.tallies["a"].exposures == int((of == 0).sum())
    assert ledger.tallies["a"].irregular["outcome.late"] == 1
    assert tally.irregular["prediction.duplicate"] == 1
    assert sum(tally.irregular.values()) == 1


def test_statistics_are_those_of_the_columns() -> None:
    """Means, shares above a bound and quantiles agree with numpy on the same rows."""
    found = random_batch(2, rows=4_000)
    exposure = found.tables["exposure"]
    rows = np.isin(exposure["context"], [1, 3])
    ledger = Ledger(PLAN)
    ledger.observe(found)
    failures = exposure["status"][rows] != 0
    assert ledger.moments("errors", "b").mean == pytest.approx(failures.mean())
    assert ledger.moments("errors", "b").variance == pytest.approx(failures.var(ddof=1))
    latency = exposure["latency"][rows]
    assert ledger.above("latency", "b", 120.0) == (rows.sum(), (latency > 120.0).sum())
    assert ledger.quantile("latency", "b") == pytest.approx(np.quantile(latency, 0.9), rel=0.05)
    came = np.isin(np.flatnonzero(rows), found.tables["closed_metric"]["row"])
    assert ledger.moments("conversion", "b").mean == pytest.approx(came.mean())
    assert ledger.early("conversion", "b").n == came.sum()


def test_routing_versions_are_kept_apart() -> None:
    """Pairs and arms come from versions that have both variants; `since` leaves out older ones."""
    found = random_batch(3)
    of = found.tables["exposure"]["context"]
    ledger = Ledger(PLAN)
    ledger.observe(found)
    (pair,) = ledger.pairs("errors", "a", "b")
    assert (pair.control.n, pair.candidate.n) == ((of == 0).sum(), (of == 1).sum())
    assert ledger.pairs("errors", "a", "b", since=(0, 2)) == ()
    arms = ledger.arms("errors", ("a", "b"))
    assert [arm.n for arm in arms] == [pair.control.n, pair.candidate.n]
    assert ledger.moments("errors", "b", since=(0, 2)).n == (of == 3).sum()
    assert ledger.learnt("b", since=(0, 2)) == (of == 3).sum()


def test_shadow_answers_are_compared_by_request() -> None:
    """Agreement and failures count for the variant that ran in the shadow."""
    ledger = Ledger(PLAN)
    ledger.observe(random_batch(4))
    tally = ledger.shadows["b"]
    assert (tally.pairs, tally.agree, tally.disagree, tally.failures) == (9, 4, 2, 1)
    assert ledger.shadows["a"].pairs == 0


def test_a_change_in_a_variants_outcomes_is_noticed_there_only() -> None:
    """ADWIN sees raw observations of each variant: b's failures jump, a's do not."""
    rng = np.random.default_rng(5)
    ledger = Ledger(PLAN)
    for part in range(20):
        of = rng.integers(0, 2, size=500)
        rate = np.where((of == 1) & (part >= 10), 0.2, 0.02)
        ledger.observe(
            batch(
                CONTEXTS,
                exposure={"context": of, "status": 2 * (rng.random(500) < rate)},
            )
        )
    found = {(name, variant): detector.detections for name, variant, _, detector in ledger.drifts()}
    assert found["errors", "b"] >= 1
    assert found["errors", "a"] == 0
    alarm = next(d for name, variant, _, d in ledger.drifts() if (name, variant) == ("errors", "b"))
    assert 2_300 < alarm.detected_at <= alarm.observations


def test_other_experiments_leave_no_trace() -> None:
    """A batch without facts of ours changes nothing."""
    ledger = Ledger(replace(PLAN, experiment="absent"))
    before = canonical_json(ledger.to_state())
    ledger.observe(random_batch(6))
    assert canonical_json(ledger.to_state()) == before


def test_state_read_back_goes_on_to_the_same_bytes() -> None:
    """Equal state, equal bytes: at the cut, and after more facts."""
    one = Ledger(replace(PLAN, strata_max=1))
    for seed in range(3):
        one.observe(random_batch(seed))
    stored = canonical_json(one.to_state())
    other = Ledger.from_state(one.plan, json.loads(stored))
    assert canonical_json(other.to_state()) == stored
    for ledger in (one, other):
        ledger.observe(random_batch(9))
    assert canonical_json(other.to_state()) == canonical_json(one.to_state()) != stored


def test_an_amended_plan_keeps_what_is_measured_as_before() -> None:
    """A changed metric starts empty, a new variant has counts of its own, the rest goes on."""
    ledger = Ledger(PLAN)
    ledger.observe(random_batch(7))
    errors, exposures = ledger.moments("errors", "b"), ledger.tallies["b"].exposures
    changed = replace(LATENCY, quantile=0.5)
    ledger.amend(replace(PLAN, variants=("a", "b", "c"), measurements=(ERRORS, changed)))
    assert ledger.moments("errors", "b") == errors
    assert ledger.tallies["b"].exposures == exposures
    assert ledger.tallies["c"].exposures == 0
    assert ledger.quantile("latency", "b") is None
    assert ledger.moments("latency", "b").n == 0
    ledger.observe(random_batch(8))
    assert ledger.moments("errors", "b").n > errors.n


def test_what_an_instance_decided_counts_for_predictions_and_never_for_outcomes() -> None:
    """Requests under INSTANCE were not drawn: their status and latency lie in the strata of their
    tables, beside what was drawn; outcomes, propensities and samples do not know of them."""
    found = random_batch(2)
    of = found.tables["exposure"]["context"]
    contexts = tuple(
        each._replace(reason="INSTANCE") if each.reason == "OVERRIDE" else each
        for each in CONTEXTS
    )
    drawn, told = Ledger(PLAN), Ledger(PLAN)
    drawn.observe(found)
    told.observe(replace(found, contexts=contexts))
    split, instance = int(np.isin(of, [1, 3]).sum()), int((of == 2).sum())
    assert told.moments("errors", "b").n == split + instance
    assert told.above("latency", "b", 120.0)[0] == split + instance
    for ledger in (drawn, told):
        assert ledger.moments("conversion", "b").n == drawn.moments("conversion", "b").n
        assert ledger.learnt("b") == ledger.tallies["b"].learnt == split
        assert ledger.tallies["b"].inverse_propensity == 2.0 * split
    assert told.early("conversion", "b") == drawn.early("conversion", "b")
    # The stratum of its table has both: that is what guardrails compare.
    assert sum(pair.candidate.n for pair in told.pairs("errors", "a", "b")) > sum(
        pair.candidate.n for pair in drawn.pairs("errors", "a", "b")
    )
