"""The sentence of a verdict names what is sure, in the unit of the metric."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams.deciding.world import METRICS, NAME, spec_of
from tidegate.streams.estimation import Ledger, plan_of
from tidegate.streams.guardrail_reading import Case, Since
from tidegate.streams.guardrail_wording import bounded_mean, bounded_quantile, compared
from tidegate.streams.inference import Bound, Interval
from tidegate.streams.strategies.base import Verdict


def case(**guardrail: Any) -> Case:
    """A guardrail on the challenger."""
    whole = {"min_samples": 100, "on_breach": "rollback", **guardrail}
    speed = {"field": "latency_ms", "type": "mean", "goal": "decrease"}
    spec = spec_of(metrics={**METRICS, "speed": speed}, guardrails=[whole])
    return Case(spec, 0, "challenger", Ledger(plan_of(NAME, 1, spec)), Since())


@pytest.mark.parametrize(
    ("lower", "upper", "verdict", "said"),
    [
        (25.0, 60.0, Verdict.FAIL, "+30 ms, at least +25 ms (limit 20 ms,"),
        (5.0, 60.0, Verdict.INCONCLUSIVE, "+30 ms, between +5 ms and +60 ms (limit 20 ms,"),
        (-5.0, 15.0, Verdict.PASS, "+30 ms, at most +15 ms (limit 20 ms,"),
    ],
)
def test_a_quantile_against_controls_is_told_in_its_unit(
    lower: float, upper: float, verdict: Verdict, said: str
) -> None:
    """Of a failure how bad at least, of a pass how bad at most, else both."""
    rule = case(metric="latency", compare="control", worse_by="20ms")
    found = Interval(30.0, lower, upper, 0.05, 200.0, 230.0, 900.0, 100.0, False)
    reading = compared(rule, 100, found)
    assert reading.verdict is verdict
    assert reading.sentence.startswith("latency p99 230 ms against 200 ms in control: ")
    assert said in reading.sentence


def test_nothing_found_is_inconclusive_and_says_nothing() -> None:
    """Without bounds there is no sentence to believe."""
    rule = case(metric="errors", compare="control", worse_by="10%")
    assert (compared(rule, 500, None).verdict, compared(rule, 500, None).sentence) == (
        Verdict.INCONCLUSIVE, ""
    )  # fmt: skip
    mean = bounded_mean(case(metric="speed", max="10ms"), 500, 7.0, None)
    assert (mean.verdict, mean.value) == (Verdict.INCONCLUSIVE, 7.0)


def test_a_bound_on_a_quantile_is_a_share_above_it() -> None:
    """p99 at most 120 ms: what share of requests was above, and at most how much may be."""
    reading = bounded_quantile(
        case(metric="latency", max="120ms"), 900, 150.0, Bound(0.03, 0.02, 0.04, 0.05, 900.0)
    )
    assert reading.verdict is Verdict.FAIL
    assert reading.sentence == (
        "latency p99 150 ms: 3.0 % of requests above 120 ms, at least 2.0 %"
        " (limit 1.0 %, 95 % always valid, n = 900)"
    )
