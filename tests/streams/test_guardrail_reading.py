"""What a guardrail says is complete, whatever its kind, and can be kept as evidence."""

from __future__ import annotations

import json

import pytest

from tests.streams.deciding.world import NAME, spec_of
from tests.streams.test_guardrails import METRICS, WORSE
from tidegate.streams.estimation import Ledger, plan_of
from tidegate.streams.guardrail_reading import Case, Since
from tidegate.streams.strategies.base import Verdict


@pytest.mark.parametrize(
    ("rule", "condition", "limit", "label"),
    [
        (WORSE, "compare", 0.01, "errors"),
        ({"metric": "speed", "max": "30ms"}, "max", 30.0, "speed"),
        ({"metric": "speed", "min": "10ms"}, "min", 10.0, "speed"),
        ({"metric": "latency", "max": "10ms"}, "max", 10.0, "latency p90"),
    ],
)
def test_a_reading_names_its_condition_and_limit(
    rule: dict[str, object], condition: str, limit: float, label: str
) -> None:
    """As plain JSON values, in the units of the metric."""
    whole = {"min_samples": 100, "on_breach": "rollback", **rule}
    spec = spec_of(metrics=METRICS, guardrails=[whole])
    case = Case(spec, 0, "challenger", Ledger(plan_of(NAME, 1, spec)), Since())
    found = json.loads(json.dumps(case.reading(Verdict.FAIL, 120.0, value=1.5).to_dict()))
    assert (found["condition"], found["limit"], found["verdict"]) == (condition, limit, "FAIL")
    assert (found["n"], found["min_samples"], found["value"]) == (120, 100, 1.5)
    assert case.label == label
