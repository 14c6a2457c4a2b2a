"""The rules of attribution: which outcome is credited to which prediction. Plain functions.

The horizon rules are those of `docs/design.md` "Joining"; they resemble the reward wait and the
backward join window of the systems listed there, with both boundaries published.
"""

from __future__ import annotations

import math

from tidegate.schemas.facts import AGREE_NO, AGREE_UNKNOWN, AGREE_YES
from tidegate.streams.joining.layout import (
    ACTIVATION_ENTRY,
    ANSWER,
    ENTRY,
    ENTRY_BYTES,
    SHADOW_ENTRY,
)
from tidegate.streams.joining.settings import TIMER_GRID_MS

MetricSummary = tuple[int, int, float, float, float, float, float]
"""metric, count, first, last, sum, min, max."""
ScoredShadow = tuple[int, float]
"""shadow tail, score."""


def deadline_ms(log_time_ms: int, served_at_ms: int, wait_ms: int) -> int:
    """When a request closes; `wait_ms` is its reward wait and the grace.

    `served_at_ms` counts because log time stands still while nobody ticks.

    >>> deadline_ms(1_000, 1_040, 500), deadline_ms(1_100, 900, 500)
    (1600, 1600)
    """
    begin_ms = served_at_ms if served_at_ms > log_time_ms else log_time_ms
    return -(-(begin_ms + wait_ms) // TIMER_GRID_MS) * TIMER_GRID_MS


def in_window(occurred_after_ms: int, reward_wait_ms: int, early_tolerance_ms: int) -> bool:
    """Whether an outcome that occurred so long after its prediction is credited: half-open.

    >>> [in_window(after, 10, 2) for after in (-3, -2, 0, 9, 10)]
    [False, True, True, True, False]
    """
    return -early_tolerance_ms <= occurred_after_ms < reward_wait_ms


def is_from_the_future(
    event_ms: int, log_time_ms: int, timestamp_ms: int, tolerance_ms: int
) -> bool:
    """Whether an event claims a time too far ahead of both its log time and its timestamp.

    Log time alone stands still while nobody ticks, and then the record's timestamp is witness.
    """
    return event_ms > log_time_ms + tolerance_ms and event_ms > timestamp_ms + tolerance_ms


def find_entry(state: bytes, start: int, name: bytes) -> int:
    """Where the entry of a name stands among the entries from `start` on; -1: nowhere."""
    found = state.find(name, start)
    while found >= 0 and (found - start) % ENTRY_BYTES:
        found = state.find(name, found + 1)
    return found


def agreement(label: int, shadow_label: int) -> int:
    """Whether two label codes agree; unknown when one is absent (0).

    >>> agreement(3, 3), agreement(3, 5), agreement(0, 5)
    (1, 0, 2)
    """
    if not label or not shadow_label:
        return AGREE_UNKNOWN
    return AGREE_YES if label == shadow_label else AGREE_NO


def is_activated(entries: bytes) -> bool:
    """Whether an activation is among the entries."""
    return any(metric == ACTIVATION_ENTRY for metric, _, _, _ in ENTRY.iter_unpack(entries))


def scored_shadows(state: bytes, entries: bytes) -> list[ScoredShadow]:
    """Shadows among the entries of an open request that can be held against its answer once an
    outcome is known: both have a score. In the order in which they came."""
    if math.isnan(ANSWER.unpack_from(state)[2]):
        return []
    return [
        (number, score)
        for metric, number, score, _ in ENTRY.iter_unpack(entries)
        if metric == SHADOW_ENTRY and not math.isnan(score)
    ]


def summarise(entries: bytes) -> list[MetricSummary]:
    """Every metric's count, first, last, sum, min and max, by the number of the metric.

    First and last by time of occurrence; at equal times the order of the logs decides.
    """
    items = [item for item in ENTRY.iter_unpack(entries) if item[0] < ACTIVATION_ENTRY]
    if len(items) == 1:  # almost always
        metric, _, value, _ = items[0]
        return [(metric, 1, value, value, value, value, value)]
    by_metric: dict[int, list[tuple[int, int, float]]] = {}
    for place, (metric, _, value, after) in enumerate(items):
        by_metric.setdefault(metric, []).append((after, place, value))
    summaries = []
    for metric in sorted(by_metric):
        found = by_metric[metric]
        values = [value for _, _, value in found]
        first, last = min(found)[2], max(found)[2]
        summaries.append((metric, len(found), first, last, sum(values), min(values), max(values)))
    return summaries
