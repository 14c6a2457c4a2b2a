"""What must hold within and between metrics."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas.manifest.faults import Fault, Path, Unreadable, unread_fields
from tidegate.schemas.manifest.spec import ExperimentSpec, Metric
from tidegate.schemas.topics import DAY_MS

WINDOW_DAYS_MAX = 24
"""Predictions and tables tell it as milliseconds in 32 bits; outcomes are kept for longer."""
_OUTCOME_WORDS = ("window", "aggregate", "default", "range")


def metric_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Every metric says what it measures, and outcome metrics share one window."""
    first: tuple[str, int] | None = None
    for name, metric in spec.metrics.items():
        path: Path = ("spec", "metrics", name)
        unread = unread_fields(unreadable, "metrics", name)
        if "field" in unread:
            continue
        if metric.statuses is not None and metric.field != "status":
            yield Fault(
                (*path, "statuses"), "statuses belong to field: status", "remove statuses"
            )
        if metric.field == "disagreement" and metric.goal == "increase":
            yield Fault(
                (*path, "goal"), "more disagreement is no goal", "write goal: decrease"
            )
        if metric.field is None:
            yield from _outcome_metric(path, metric, unread)
        else:
            yield from _field_metric(path, metric, metric.field, unread)
        if metric.window_ms is None or metric.field is not None:
            continue
        if first is None:
            first = (name, metric.window_ms)
        elif metric.window_ms != first[1]:
            yield Fault(
                (*path, "window"),
                f"it differs from the window of {first[0]}, and an experiment has one window",
                f"write the window of {first[0]}",
            )


def _outcome_metric(path: Path, metric: Metric, unread: frozenset[str]) -> Iterator[Fault]:
    if "type" not in unread and metric.type not in ("binary", "value"):
        yield Fault(
            (*path, "type"),
            f"{metric.type} describes a field of predictions, and no field is named",
            "add field: latency_ms (or status, score, measures.NAME), or write type: value",
        )
        return
    if metric.window_ms is None:
        if "window" not in unread:
            remedy = "add window: 30m, how long they are waited for"
            yield Fault(path, "outcomes need a window", remedy)
    elif metric.window_ms == 0:
        yield Fault((*path, "window"), "nothing could arrive in no time", "write 1s or more")
    elif metric.window_ms > WINDOW_DAYS_MAX * DAY_MS:
        yield Fault(
            (*path, "window"),
            f"outcomes are waited for {WINDOW_DAYS_MAX} days at most",
            f"write {WINDOW_DAYS_MAX}d or less",
        )
    if metric.aggregate is None and "aggregate" not in unread:
        yield Fault(
            path,
            "several outcomes of one request need an aggregate",
            "add aggregate: first (or last, sum, min, max, count, mean)",
        )
    if metric.quantile is not None:
        yield Fault(
            (*path, "quantile"), "outcomes have no quantile in this version", "remove quantile"
        )
    yield from (_binary if metric.type == "binary" else _bounded)(path, metric)


def _binary(path: Path, metric: Metric) -> Iterator[Fault]:
    if metric.aggregate in ("sum", "count", "mean"):
        yield Fault(
            (*path, "aggregate"),
            f"{metric.aggregate} of a binary metric is not 0 or 1",
            "write first, last, min or max, or type: value",
        )
    if metric.default not in (None, 0.0, 1.0):
        yield Fault((*path, "default"), "a binary metric is 0 or 1", "write 0 or 1, or type: value")
    if metric.range not in (None, (0.0, 1.0)):
        yield Fault((*path, "range"), "a binary metric is 0 or 1", "remove range")


def _bounded(path: Path, metric: Metric) -> Iterator[Fault]:
    if metric.range is None:
        return
    low, high = metric.range
    if low >= high:
        yield Fault((*path, "range"), "the range is empty", "write the lower bound first")
    elif metric.default is not None and not low <= metric.default <= high:
        yield Fault(
            (*path, "default"),
            f"{metric.default:g} is outside the range",
            f"write a value from {low:g} to {high:g}",
        )


def _field_metric(
    path: Path, metric: Metric, field: str, unread: frozenset[str]
) -> Iterator[Fault]:
    given = (metric.window_ms, metric.aggregate, metric.default, metric.range)
    for word, value in zip(_OUTCOME_WORDS, given, strict=True):
        if value is not None:
            yield Fault(
                (*path, word),
                f"{word} belongs to outcomes, and {field} is known with the prediction",
                f"remove {word}",
            )
    if "type" in unread:
        return
    if field == "status" and metric.type != "rate":
        yield Fault((*path, "type"), "status is counted as a rate of failures", "write type: rate")
    if field == "disagreement" and metric.type != "rate":
        yield Fault((*path, "type"), "answers agree or do not", "write type: rate")
    if field not in ("status", "disagreement") and metric.type not in ("quantile", "mean"):
        yield Fault(
            (*path, "type"),
            f"{metric.type} does not fit {field}",
            "write type: quantile or type: mean",
        )
    if "quantile" not in unread and (metric.type == "quantile") != (metric.quantile is not None):
        problem, remedy = (
            ("which quantile is unknown", "add quantile: 0.99")
            if metric.quantile is None
            else (f"quantile does not fit type {metric.type}", "write type: quantile")
        )
        yield Fault(path, problem, remedy)
