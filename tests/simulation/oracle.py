"""What must be counted, said a second time: request by request, from the logs' contents alone.

It knows nothing of fetches, batches, timers, interning, checkpoints or the merge: only the rules
of `docs/design.md` "Joining" about one request's own records, ordered by (log time, rank, offset).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tests.simulation.logs import Log
from tidegate.schemas import codec
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import Event, Outcome, Prediction, ShadowPrediction
from tidegate.streams.joining.settings import JoinerSettings

KINDS: tuple[type[Event], ...] = (Prediction, ShadowPrediction, Outcome)
Fact = tuple[Any, ...]
Stamped = tuple[int, int, int, Any]
"""log time, rank, offset, event."""


@lru_cache(4_096)
def read(rank: int, value: bytes | None) -> Any:
    """The event in a record, or None when it is none."""
    try:
        return codec.decode_as(KINDS[rank], value)
    except EventError:
        return None


def expected(logs: Sequence[Log], rules: JoinerSettings, end_ms: int) -> Counter[Fact]:
    """Facts that the records of one partition index must lead to, with log time at `end_ms`."""
    facts: Counter[Fact] = Counter()
    by_request: defaultdict[str, list[Stamped]] = defaultdict(list)
    for rank, log in enumerate(logs):
        times = log.times()
        for offset, entry in enumerate(log.entries):
            if entry.mark is not None:
                continue
            event, time_ms = read(rank, entry.value), times[offset]
            own_ms = 0 if event is None else getattr(event, "served_at", 0) or event.occurred_at
            latest_ms = max(time_ms, entry.timestamp_ms) + rules.future_tolerance_ms
            if event is None or own_ms > latest_ms:
                facts["dead letter", rank, offset] += 1
            else:
                by_request[event.request_id].append((time_ms, rank, offset, event))
    for name, records in by_request.items():
        records.sort(key=lambda item: item[:3])
        _OneRequest(name, rules, facts).walk(records, end_ms)
    return facts


class _OneRequest:
    """The life of one request id."""

    def __init__(self, name: str, rules: JoinerSettings, facts: Counter[Fact]) -> None:
        self.name, self.rules, self.facts = name, rules, facts
        self.first: Prediction | None = None
        self.deadline_ms = 0
        self.closed = False
        self.taken: dict[tuple[Any, ...], Any] = {}
        self.early: list[tuple[int, Any]] = []

    def walk(self, records: list[Stamped], end_ms: int) -> None:
        for time_ms, _, _, event in records:
            self.time(time_ms)
            if isinstance(event, Prediction):
                self.predicted(event, time_ms)
            elif self.first is None:
                self.early.append((time_ms, event))
            else:
                self.credit(event)
        self.time(end_ms)

    def time(self, now_ms: int) -> None:
        if self.first is not None and now_ms >= self.deadline_ms and not self.closed:
            self.closed = True
            if not self.first.deferred or ("activation",) in self.taken:
                self.facts["closed", self.name, *self.summary(), *self.scored()] += 1
        if self.closed and now_ms >= self.deadline_ms + self.rules.closed_memory_ms:
            self.first, self.closed, self.taken = None, False, {}
        for came_ms, event in list(self.early):
            if now_ms >= came_ms + self.rules.early_wait_ms:
                self.early.remove((came_ms, event))
                self.facts["orphan", type(event).NAME, self.name] += 1

    def predicted(self, event: Prediction, time_ms: int) -> None:
        if self.first is not None:
            same = _identity(self.first) == _identity(event)
            self.facts["duplicate" if same else "conflict", "prediction", self.name] += 1
            return
        self.first = event
        begin_ms = max(time_ms, event.served_at) + event.reward_wait_ms + self.rules.grace_ms
        self.deadline_ms = (begin_ms + 99) // 100 * 100
        if not event.deferred:
            self.facts["exposure", self.name] += 1
        waiting, self.early = self.early, []
        for _, early in waiting:
            self.credit(early)

    def credit(self, event: Any) -> None:
        assert self.first is not None
        if isinstance(event, ShadowPrediction):
            key: tuple[Any, ...] = ("shadow", event.variant, event.model_version, event.generation)
            said: Any = (event.score, event.label)
        else:
            key = (event.metric, event.outcome_id) if event.metric else ("activation",)
            said = event.value
        if key in self.taken:
            again = "duplicate" if self.taken[key] == (said, *self.taken[key][1:]) else "conflict"
            self.facts[again, event.NAME, self.name] += 1
            return
        if isinstance(event, ShadowPrediction):
            in_time, after_ms = True, 0
        else:
            after_ms = event.occurred_at - self.first.served_at
            in_time = -self.rules.early_tolerance_ms <= after_ms < self.first.reward_wait_ms
        if self.closed or not in_time:
            self.facts["late", event.NAME, self.name] += 1
            return
        self.taken[key] = (said, after_ms, len(self.taken))
        if key[0] == "shadow":
            label, other = self.first.label, event.label
            agree = 2 if label is None or other is None else int(label == other)
            self.facts["shadow", self.name, agree] += 1
        elif key[0] != "activation":
            self.facts["matched", self.name, key[0], said] += 1
        elif self.first.deferred:
            self.facts["exposure", self.name] += 1

    def summary(self) -> list[tuple[Any, ...]]:
        """Count, first, last, sum, min and max of every metric."""
        by_metric: defaultdict[str, list[tuple[int, int, float]]] = defaultdict(list)
        for key, (said, after_ms, place) in self.taken.items():
            if key[0] not in ("shadow", "activation"):
                by_metric[key[0]].append((after_ms, place, said))
        found = []
        for metric, items in sorted(by_metric.items()):
            values = [value for _, _, value in sorted(items)]
            found.append((metric, len(values), values[0], values[-1], sum(values),
                          min(values), max(values)))  # fmt: skip
        return found


    def scored(self) -> list[tuple[Any, ...]]:
        """Which shadow scored what, and what was answered; where both have a score."""
        assert self.first is not None
        answer = self.first.score
        return sorted(
            ("shadow", key[1], said[0], answer)
            for key, (said, _, _) in self.taken.items()
            if key[0] == "shadow" and said[0] is not None and answer is not None
        )


def _identity(event: Prediction) -> tuple[Any, ...]:
    return (
        event.served_at, event.unit_id, event.experiment, event.generation, event.variant,
        event.served_variant, event.model, event.model_version, event.routing_epoch,
        event.routing_version, event.reason,
    )  # fmt: skip
