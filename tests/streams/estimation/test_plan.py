"""The plan: what a spec asks to be measured."""

from __future__ import annotations

from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.estimation.plan import Measurement, plan_of

SPEC = """{
 "unit": {"key": "user"}, "control": "a",
 "variants": {"a": {"model": "m", "version": "1"}, "b": {"model": "m", "version": "2"}},
 "metrics": {
  "conversion": {"type": "binary", "goal": "increase", "aggregate": "first", "window_ms": 60000,
                 "default": 0},
  "revenue": {"type": "value", "goal": "increase", "aggregate": "sum", "window_ms": 60000,
              "default": 0, "range": [0, 500]},
  "latency": {"type": "quantile", "goal": "decrease", "field": "latency_ms", "quantile": 0.99},
  "errors": {"type": "rate", "goal": "decrease", "field": "status"},
  "cost": {"type": "mean", "goal": "decrease", "field": "measures.cost"}
 },
 "objective": "revenue",
 "guardrails": [
  {"metric": "latency", "max": {"value": 120.0, "unit": "ms"}, "min_samples": 500,
   "on_breach": "pause"}
 ],
 "flag": {"weights_bp": {"a": 10000}}
}"""


def test_every_metric_is_measured_as_the_spec_says() -> None:
    """Sources, ranges, bounds and detectors follow from type, field and guardrails."""
    plan = plan_of("ranker", 3, ExperimentSpec.from_json(SPEC))
    assert (plan.experiment, plan.generation, plan.variants) == ("ranker", 3, ("a", "b"))
    assert plan.measurements == (
        Measurement("conversion", "outcome", "increase", True, "first", 0.0, 0.0, 1.0,
                    drift=("adwin",)),
        Measurement("cost", "measure", "decrease", measure="cost"),
        Measurement("errors", "status", "decrease", True, low=0.0, high=1.0, drift=("adwin",)),
        Measurement("latency", "latency_ms", "decrease", quantile=0.99, bounds=(120.0,)),
        Measurement("revenue", "outcome", "increase", False, "sum", 0.0, 0.0, 500.0,
                    drift=("adwin",)),
    )  # fmt: skip
