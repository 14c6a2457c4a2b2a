"""What must hold for guardrails: a known metric, and one condition in its unit."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas.manifest.faults import Fault, Path, Unreadable, meant, unread_fields
from tidegate.schemas.manifest.spec import ExperimentSpec, Guardrail, Metric
from tidegate.schemas.manifest.types import Quantity

_JUDGED_BY = {"type", "goal", "field"}


def guardrail_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Every guardrail can be judged."""
    for index, guardrail in enumerate(spec.guardrails):
        path: Path = ("spec", "guardrails", index)
        unread = unread_fields(unreadable, "guardrails", index)
        yield from _condition(path, guardrail, unread)
        if "metric" in unread or {("metrics",), ("metrics", guardrail.metric)} & unreadable:
            continue
        metric = spec.metrics.get(guardrail.metric)
        if metric is None:
            yield Fault(
                (*path, "metric"),
                f"{guardrail.metric} is not a metric",
                meant(guardrail.metric, spec.metrics),
            )
        elif not unread_fields(unreadable, "metrics", guardrail.metric) & _JUDGED_BY:
            yield from _fits(path, guardrail, metric)


def _condition(path: Path, guardrail: Guardrail, unread: frozenset[str]) -> Iterator[Fault]:
    given = {
        word
        for word in ("max", "min", "compare", "worse_by")
        if word in unread or getattr(guardrail, word) is not None
    }
    bounded, compared = given & {"max", "min"}, given & {"compare", "worse_by"}
    if not given:
        name = "it" if "metric" in unread else guardrail.metric
        yield Fault(
            path,
            f"{name} has no condition, so it could never fail",
            "add compare: control with worse_by, or max, or min",
        )
    if bounded and compared:
        yield Fault(
            path,
            "a guardrail has one condition, and this has a comparison and a bound",
            "write two guardrails",
        )
    if compared == {"compare"}:
        yield Fault(path, "how much worse is too much is not said", "add worse_by: 1pp or 10%")
    if compared == {"worse_by"}:
        yield Fault(path, "worse than what is not said", "add compare: control")


def _fits(path: Path, guardrail: Guardrail, metric: Metric) -> Iterator[Fault]:
    is_share = metric.type in ("rate", "binary")
    if metric.type == "quantile" and guardrail.compare is not None:
        yield Fault(
            (*path, "compare"),
            "quantiles are not compared with control in this version",
            "write max: 120ms, or a metric of type mean",
        )
    for word, bound in (("max", guardrail.max), ("min", guardrail.min)):
        if bound is not None:
            yield from _unit((*path, word), bound, metric, is_share)
    wrong, right = ("max", "min") if metric.goal == "increase" else ("min", "max")
    if getattr(guardrail, wrong) is not None:
        yield Fault(
            (*path, wrong),
            f"{wrong} bounds the good side of a metric whose goal is {metric.goal}",
            f"write {right}",
        )


def _unit(path: Path, bound: Quantity, metric: Metric, is_share: bool) -> Iterator[Fault]:
    if metric.field == "latency_ms" and bound.unit != "ms":
        yield Fault(path, "a latency needs a unit of time", "write it as 120ms or 2s")
    elif metric.field != "latency_ms" and bound.unit == "ms":
        yield Fault(path, "the metric is not a time", "write a plain number")
    elif bound.unit == "share" and not is_share:
        yield Fault(path, "the metric is not a share", "write a plain number")
    elif is_share and not 0.0 <= bound.value <= 1.0:
        yield Fault(path, "a share is between 0 and 1", "write it in percent, such as 1%")
