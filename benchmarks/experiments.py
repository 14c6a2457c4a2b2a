"""The experiments behind the workload: manifests with the statistics people use by default."""

from __future__ import annotations

from typing import Any

from benchmarks.workload import BEGIN_MS, EXPERIMENTS, VARIANTS
from tidegate.schemas.events import BucketRange, Control, Routing, Variant
from tidegate.schemas.manifest.spec import ExperimentSpec


def manifest(hold: str = "10m", min_samples: int = 1_000) -> ExperimentSpec:
    """A canary with guardrails on errors, latency and conversion, and three outcome metrics."""
    outcome = {"window": "10s", "default": 0.0, "goal": "increase"}
    document: dict[str, Any] = {
        "unit": {"key": "user"},
        "control": VARIANTS[0],
        "variants": {
            name: {"model": "ranker", "version": f"2026-11-03.{number}"}
            for number, name in enumerate(VARIANTS)
        },
        "metrics": {
            "conversion": {"type": "binary", "aggregate": "first", **outcome},
            "revenue": {"type": "value", "range": [0, 64], "aggregate": "sum", **outcome},
            "dwell": {"type": "value", "range": [0, 64], "aggregate": "sum", **outcome},
            "latency": {
                "field": "latency_ms", "type": "quantile", "quantile": 0.99, "goal": "decrease",
            },
            "errors": {"field": "status", "type": "rate", "goal": "decrease"},
        },
        "objective": "revenue",
        "guardrails": [
            {"metric": "errors", "compare": "control", "worse_by": "1pp", "min_samples": 200,
             "on_breach": "rollback"},
            {"metric": "latency", "max": "500ms", "min_samples": 500, "on_breach": "pause"},
        ],
        "release": [
            {"canary": {"weights": ["50%"], "cap": "50%", "hold": hold,
                        "min_samples": min_samples}},
            {"full": {"keep_previous": "1h"}},
        ],
    }  # fmt: skip
    return ExperimentSpec.model_validate(document)


def applications(issued_at_ms: int = BEGIN_MS) -> list[Control]:
    """One APPLY per experiment of the workload."""
    spec = manifest().to_json()
    return [
        Control(
            control_id=f"apply-{name}", experiment=name, action="APPLY", spec=spec, actor="bench",
            role="operator", reason="benchmark", issued_at=issued_at_ms,
        )
        for name in EXPERIMENTS
    ]  # fmt: skip


def table(experiment: str = EXPERIMENTS[0]) -> Routing:
    """A routing table that splits everybody in halves and runs the challenger in the shadow."""
    return Routing(
        experiment=experiment, epoch=0, version=7, generation=1, control=VARIANTS[0],
        variants=tuple(Variant(name=name, model="ranker", model_version="1") for name in VARIANTS),
        buckets=(
            BucketRange(variant=VARIANTS[0], start=0, end=5_000),
            BucketRange(variant=VARIANTS[1], start=5_000, end=10_000),
        ),
        inclusion=10_000, shadow={VARIANTS[1]: 10_000}, salt="bench", reward_wait_ms=60_000,
        decision_id="d7", published_at=BEGIN_MS,
    )  # fmt: skip
