"""Guardrails: what must not happen to a candidate, judged on every batch of facts.

A guardrail fails when the harm is beyond its limit with always valid confidence, so it may be
looked at as often as facts come; it passes when the harm is surely within. Below `min_samples` of
the candidate nothing is said: no data is neither success nor failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tidegate.schemas.manifest.spec import ExperimentSpec, Guardrail, Metric
from tidegate.streams import inference
from tidegate.streams.estimation import Ledger
from tidegate.streams.strategies.base import Verdict
from tidegate.streams.wording import count, number, percent, points, signed

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one guardrail says about one candidate.

    `harm` is how much worse the candidate is (or how far beyond nothing a bounded value is), in
    the unit of `limit`; `low` and `high` are its always valid bounds, each one-sided at `alpha`.
    `value` is the candidate's, `control_value` control's where it is compared. None: no data.
    """

    index: int
    candidate: str
    metric: str
    verdict: Verdict
    n: int
    limit: float
    value: float | None = None
    control_value: float | None = None
    harm: float | None = None
    low: float | None = None
    high: float | None = None
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As evidence."""
        return {
            "guardrail": self.index, "candidate": self.candidate, "metric": self.metric,
            "verdict": str(self.verdict), "n": self.n, "limit": self.limit, "value": self.value,
            "control_value": self.control_value, "harm": self.harm, "low": self.low,
            "high": self.high, "sentence": self.sentence,
        }  # fmt: skip


def read(
    spec: ExperimentSpec, index: int, candidate: str, ledger: Ledger, since: Key
) -> Reading:
    """What guardrail `index` says about `candidate` on evidence of tables from `since` on."""
    guardrail = spec.guardrails[index]
    metric = spec.metrics[guardrail.metric]
    if guardrail.worse_by is not None:
        return _compared(spec, index, candidate, ledger, since)
    if metric.type == "quantile":
        return _bounded_quantile(guardrail, metric, index, candidate, ledger)
    return _bounded_mean(guardrail, metric, index, candidate, ledger, since)


def _verdict(low: float, high: float, limit: float) -> Verdict:
    if low > limit:
        return Verdict.FAIL
    return Verdict.PASS if high <= limit else Verdict.INCONCLUSIVE
