"""What must be joined, said without state, order of arrival or timers.

A slow, plain reading of `docs/design.md` "Joining", to hold the fold against.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from tests.streams.logs import Log, log_times_ms
from tidegate.schemas.codec import decode
from tidegate.schemas.errors import EventError
from tidegate.streams.joining.settings import JoinerSettings

NAMES = ("prediction", "shadow-prediction", "outcome")


def sound_events(logs: Sequence[Log], settings: JoinerSettings) -> list[list[tuple[int, Any]]]:
    """(log time, event) of each log, without what is unreadable or from the future."""
    events: list[list[tuple[int, Any]]] = [[], [], []]
    for rank, log in enumerate(logs):
        for time_ms, record in zip(log_times_ms(log), log, strict=True):
            if isinstance(record, bytes):
                try:
                    event: Any = decode(NAMES[rank], record)
                except EventError:
                    continue
                claimed = event.occurred_at if rank == 2 else event.served_at
                if claimed <= time_ms + settings.future_tolerance_ms:
                    events[rank].append((time_ms, event))
    return events


def expected(logs: Sequence[Log], settings: JoinerSettings) -> dict[str, Counter[Any]]:
    """Matched outcomes, paired shadows and classes of everything, as multisets.

    Holds while no request is forgotten (`closed_memory_ms` longer than the logs).
    """
    predictions, shadows, outcomes = sound_events(logs, settings)
    first: dict[str, tuple[int, Any]] = {}
    classes: Counter[Any] = Counter()
    for time_ms, event in predictions:
        if event.request_id not in first:
            first[event.request_id] = (time_ms, event)
            classes["prediction.counted"] += 1
        else:
            classes[f"prediction.{_repeat(first[event.request_id][1], event)}"] += 1
    matched: Counter[Any] = Counter()
    paired: Counter[Any] = Counter()
    for stream, events, facts in (("shadow", shadows, paired), ("outcome", outcomes, matched)):
        seen: dict[Any, Any] = defaultdict(dict)
        for time_ms, event in events:
            verdict = _verdict(first.get(event.request_id), time_ms, event, seen, settings)
            classes[f"{stream}.{verdict}"] += 1
            if verdict == "counted" and getattr(event, "kind", None) != "ACTIVATION":
                facts[_name(event) + _answer(event)] += 1
    return {"matched": matched, "paired": paired, "classes": +classes}


def _repeat(first: Any, event: Any) -> str:
    told = ("served_at", "unit_id", "experiment", "generation", "variant", "served_variant",
            "model", "model_version", "routing_epoch", "routing_version", "reason")  # fmt: skip
    same = all(getattr(first, name) == getattr(event, name) for name in told)
    return "duplicate" if same else "conflict"


def _verdict(
    known: tuple[int, Any] | None, time_ms: int, event: Any, seen: dict[Any, Any],
    settings: JoinerSettings,
) -> str:  # fmt: skip
    wait_ms = settings.early_tolerance_ms + settings.grace_ms
    if known is None or time_ms + wait_ms <= known[0]:
        return "orphan"
    released_ms, prediction = known
    name = _name(event)
    if name in seen:
        return "duplicate" if seen[name] == _answer(event) else "conflict"
    begin_ms = max(released_ms, prediction.served_at)
    deadline_ms = begin_ms + prediction.reward_wait_ms + settings.grace_ms
    if time_ms >= -(-deadline_ms // 100) * 100:
        return "late"
    if hasattr(event, "occurred_at"):
        after_ms = event.occurred_at - prediction.served_at
        if not -settings.early_tolerance_ms <= after_ms < prediction.reward_wait_ms:
            return "late"
    seen[name] = _answer(event)
    return "counted"


def _name(event: Any) -> tuple[Any, ...]:
    if hasattr(event, "outcome_id"):
        return (event.request_id, event.metric, event.outcome_id)
    return (event.request_id, event.variant)


def _answer(event: Any) -> tuple[Any, ...]:
    return (event.value,) if hasattr(event, "value") else (event.score, event.label)
