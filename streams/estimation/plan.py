"""What is measured of an experiment: derived from its spec, and all the ledger needs to know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from tidegate.schemas.facts import STATUSES
from tidegate.streams.conditions import read_condition
from tidegate.streams.estimation.trail import Watch
from tidegate.streams.rules import Ring

if TYPE_CHECKING:
    from tidegate.schemas.manifest.spec import ExperimentSpec, Metric

Source = Literal["outcome", "status", "latency_ms", "score", "measure", "disagreement"]
Goal = Literal["increase", "decrease"]

STRATA_MAX: Final = 64
DRIFT: Final = ("adwin",)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric as the ledger reads it.

    `source` says where values come from: closed outcomes, a column of exposures, or whether a
    request and its shadow differ. `measure` is the measure's name, `statuses` the codes of status
    that count. Outcome values are the request's `aggregate` of what came, or `default`
    when nothing came; without default such requests are left out. Values are clipped to
    `low..high`, so one source cannot move a mean without limit. `quantile` is None for means.
    `bounds` are values above which requests are counted. `drift` names the detectors fed, on
    values scaled to 0..1; they need `low` and `high`.
    """

    name: str
    source: Source
    goal: Goal
    binary: bool = False
    aggregate: str = "last"
    default: float | None = None
    low: float | None = None
    high: float | None = None
    measure: str = ""
    statuses: tuple[int, ...] = (1, 2, 3)
    quantile: float | None = None
    bounds: tuple[float, ...] = ()
    drift: tuple[str, ...] = ()

    def continues(self, other: Measurement | None) -> bool:
        """Whether the values are those of `other`; what is asked about them may differ."""
        return other is not None and replace(other, bounds=self.bounds) == self


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is measured of one generation of an experiment.

    Scores of a request and its shadow agree when they are `score_tolerance` apart at most. How far
    both lie from the outcome is told of the measurement `objective`; empty: of none.
    `watches` are what guardrails follow from several beginnings. All is measured in each of the
    `rings` as well.
    """

    experiment: str
    generation: int
    variants: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    strata_max: int = STRATA_MAX
    score_tolerance: float = 0.0
    rings: tuple[Ring, ...] = ()
    watches: tuple[Watch, ...] = ()
    objective: str = ""

    @property
    def scored(self) -> Measurement | None:
        """What scores are held against once it is known; None when there is no such thing."""
        found = (item for item in self.measurements if item.name == self.objective)
        return next((item for item in found if item.source == "outcome"), None)


def plan_of(experiment: str, generation: int, spec: ExperimentSpec) -> Plan:
    """The plan of a spec: every metric, with the bounds its guardrails ask about."""
    bounds: dict[str, set[float]] = {}
    for guardrail in spec.guardrails:
        for limit in (guardrail.max, guardrail.min):
            if limit is not None:
                bounds.setdefault(guardrail.metric, set()).add(limit.value)
    return Plan(
        experiment,
        generation,
        tuple(sorted(spec.variants)),
        tuple(
            _measurement(name, metric, tuple(sorted(bounds.get(name, ()))))
            for name, metric in sorted(spec.metrics.items())
        ),
        score_tolerance=next(
            (step.shadow.score_tolerance for step in spec.release if step.shadow is not None), 0.0
        ),
        rings=tuple(
            Ring(ring.name, read_condition(ring.when.to_condition()), open=True)
            for ring in spec.rings
        ),
        watches=tuple(dict.fromkeys(_watches(spec))),
        objective=spec.objective or "",
    )


def watch_of(spec: ExperimentSpec, index: int, candidate: str) -> Watch:
    """What guardrail `index` follows of a candidate."""
    guardrail = spec.guardrails[index]
    quantile = spec.metrics[guardrail.metric].quantile
    is_compared = guardrail.worse_by is not None
    limit = guardrail.max or guardrail.min
    is_checked = guardrail.checks is not None
    return Watch(
        measurement=guardrail.metric,
        candidate=candidate,
        control=spec.control if is_compared else "",
        above=None if quantile is None or is_compared or limit is None else limit.value,
        binned=quantile is not None and is_compared,
        size=0 if is_checked else guardrail.min_samples,
        checked=index if is_checked else None,
    )


def _watches(spec: ExperimentSpec) -> Iterator[Watch]:
    for index, guardrail in enumerate(spec.guardrails):
        if guardrail.metric in spec.metrics:
            for candidate in spec.candidates:
                yield watch_of(spec, index, candidate)


def _measurement(name: str, metric: Metric, bounds: tuple[float, ...]) -> Measurement:
    source, _, measure = (metric.field or "outcome").partition(".")
    sources: dict[str, Source] = {
        "outcome": "outcome",
        "status": "status",
        "latency_ms": "latency_ms",
        "score": "score",
        "measures": "measure",
        "disagreement": "disagreement",
    }
    counted = metric.statuses or STATUSES[1:]
    binary = metric.type in ("binary", "rate")
    low, high = (0.0, 1.0) if binary else metric.range or (None, None)
    scaled = low is not None and high is not None and high > low
    return Measurement(
        name=name,
        source=sources[source],
        goal=metric.goal,
        binary=binary,
        aggregate=metric.aggregate or "last",
        default=metric.default,
        low=low,
        high=high,
        measure=measure,
        statuses=tuple(map(STATUSES.index, counted)),
        quantile=metric.quantile if metric.type == "quantile" else None,
        bounds=bounds if metric.type == "quantile" else (),
        drift=DRIFT if scaled else (),
    )
