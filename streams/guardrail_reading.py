"""One guardrail, one candidate: what is asked of them, and what is said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from tidegate.schemas.manifest.spec import ExperimentSpec, Guardrail, Metric
from tidegate.streams.estimation import Ledger
from tidegate.streams.estimation.strata import Key
from tidegate.streams.strategies.base import Verdict

SEVERITY = ("rollback", "step_back", "pause", "alert")
"""Answers to a breach, the gravest first: of several guardrails that fail it counts."""


@dataclass(frozen=True, slots=True)
class Since:
    """From where on evidence counts: a table, and for quantiles what had been counted by then.

    `requests` and `beyond` are subtracted from the ledger's counts above a bound.
    """

    table: Key = (0, 0)
    requests: int = 0
    beyond: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one guardrail says about one candidate.

    `value` is the candidate's. Under `compare`, `effect` is candidate minus control (relative to
    control when `relative`), `lower` and `upper` its bounds, `limit` how much worse is too much.
    Under `max` and `min` the bounds are those of `value`; of a quantile, `share` of requests
    above the bound, whose bounds they are. Each bound misses the truth with probability `alpha`
    at most, at whatever time one looks. None: nothing can be said.
    """

    guardrail: int
    candidate: str
    metric: str
    condition: Literal["compare", "max", "min"]
    on_breach: str
    verdict: Verdict
    n: int
    min_samples: int
    limit: float
    alpha: float
    relative: bool = False
    value: float | None = None
    control_value: float | None = None
    effect: float | None = None
    share: float | None = None
    lower: float | None = None
    upper: float | None = None
    sentence: str = ""

    def saying(self, sentence: str) -> Reading:
        """The same with another sentence."""
        return replace(self, sentence=sentence)

    def missing(self, sentence: str) -> Reading:
        """A breach for want of data: nothing else is known."""
        return replace(self, verdict=Verdict.NO_DATA, sentence=sentence)

    def to_dict(self) -> dict[str, Any]:
        """As evidence."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return {**named, "verdict": str(self.verdict)}


@dataclass(frozen=True, slots=True)
class Case:
    """One guardrail and one candidate."""

    spec: ExperimentSpec
    index: int
    candidate: str
    ledger: Ledger
    since: Since

    @property
    def guardrail(self) -> Guardrail:
        return self.spec.guardrails[self.index]

    @property
    def metric(self) -> Metric:
        return self.spec.metrics[self.guardrail.metric]

    @property
    def label(self) -> str:
        quantile = self.metric.quantile
        return self.guardrail.metric + ("" if quantile is None else f" p{quantile * 100:g}")

    @property
    def limit(self) -> float:
        guardrail = self.guardrail
        chosen = guardrail.worse_by or guardrail.max or guardrail.min
        return chosen.value if chosen is not None else 0.0

    def reading(self, verdict: Verdict, n: float, **found: Any) -> Reading:
        guardrail = self.guardrail
        if guardrail.worse_by is not None:
            condition: Literal["compare", "max", "min"] = "compare"
        else:
            condition = "min" if guardrail.max is None else "max"
        return Reading(
            self.index,
            self.candidate,
            guardrail.metric,
            condition,
            guardrail.on_breach,
            verdict,
            int(n),
            guardrail.min_samples,
            self.limit,
            guardrail.alpha,
            **found,
        )
