"""What must hold for guardrails: a known metric, and one condition in its unit."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas.manifest.faults import (
    Fault,
    Path,
    Unreadable,
    meant,
    touches,
    unread_fields,
)
from tidegate.schemas.manifest.spec import ExperimentSpec, Guardrail, Metric
from tidegate.schemas.manifest.types import Quantity

_JUDGED_BY = {"type", "goal", "field"}


def guardrail_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Every guardrail can be judged."""
    for index, guardrail in enumerate(spec.guardrails):
        path: Path = ("spec", "guardrails", index)
        unread = unread_fields(unreadable, "guardrails", index)
        yield from _condition(path, guardrail, unread)
        yield from _answer(path, guardrail, unread)
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
            if metric.field == "disagreement":
                yield from _unseen(path, guardrail, spec, unreadable)


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


def _answer(path: Path, guardrail: Guardrail, unread: frozenset[str]) -> Iterator[Fault]:
    """What is done, after how many checks, and what missing data means."""
    checks = guardrail.checks
    if checks is not None and "checks" not in unread:
        where: Path = (*path, "checks")
        total, row = checks.failures, checks.consecutive
        if total is None and row is None:
            yield Fault(
                where,
                "how many checks may fail is not said",
                "add failures: 3, or consecutive: 2, or both",
            )
        elif total is not None and row is not None and row > total:
            yield Fault(
                (*where, "consecutive"),
                f"{row} in a row are never reached, since {total} in all come first",
                f"write {total} or less",
            )
        if guardrail.on_breach == "rollback":
            yield Fault(
                where,
                "a rollback waits for no second measurement",
                "remove checks, or write on_breach: pause, step_back or alert",
            )
    if {"on_no_data", "no_data_after"} & unread:
        return
    if guardrail.on_no_data == "fail" and guardrail.no_data_after_ms is None:
        yield Fault(path, "after how long missing data fails is not said", "add no_data_after: 30m")
    if guardrail.on_no_data == "wait" and guardrail.no_data_after_ms is not None:
        yield Fault(
            (*path, "no_data_after"),
            "missing data is waited for, however long it takes",
            "add on_no_data: fail, or remove no_data_after",
        )


def _unseen(
    path: Path, guardrail: Guardrail, spec: ExperimentSpec, unreadable: Unreadable
) -> Iterator[Fault]:
    """Shadows are compared with what control answered, in a step that asks them."""
    if guardrail.compare is not None:
        yield Fault(
            (*path, "compare"),
            "disagreement is with control already",
            "write max: 10%, and neither compare nor worse_by",
        )
    if not touches(unreadable, "release") and not any(step.shadow for step in spec.release):
        yield Fault(
            (*path, "metric"),
            "no step asks candidates in the shadow, so nothing is compared",
            "add a shadow step, or remove the guardrail",
        )


def _fits(path: Path, guardrail: Guardrail, metric: Metric) -> Iterator[Fault]:
    is_share = metric.type in ("rate", "binary")
    margin = guardrail.worse_by
    if margin is not None and margin.unit == "pp" and not is_share:
        yield Fault(
            (*path, "worse_by"),
            "the metric is not a share, so it has no percentage points",
            "write 10% (of control's value), or a plain number in the metric's own unit",
        )
    if margin is not None and margin.unit == "ms" and metric.field != "latency_ms":
        yield Fault((*path, "worse_by"), "the metric is not a time", "write 1pp, 10% or a number")
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
