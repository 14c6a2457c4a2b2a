"""What must be counted, said a second time: request by request, from the logs' contents alone.

It knows nothing of fetches, batches, timers, interning, checkpoints or the merge: only the rules
of `docs/design.md` "Joining" about one request's own records, ordered by (log time, rank, offset),
and who goes when there are more than a cap allows.
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
    records: list[Stamped] = []
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
                records.append((time_ms, rank, offset, event))
    records.sort(key=lambda item: item[:3])
    together = _Together(rules, facts)
    for serial, (time_ms, _, _, event) in enumerate(records):
        together.take(serial, time_ms, event)
    together.time(end_ms)
    return facts


class _Together:
    """All request ids of a partition index: caps are all they have to do with each other."""

    def __init__(self, rules: JoinerSettings, facts: Counter[Fact]) -> None:
        self.rules, self.facts = rules, facts
        self.by_name: dict[str, _OneRequest] = {}
        self.now_ms = -1

    def take(self, serial: int, time_ms: int, event: Any) -> None:
        self.time(time_ms)
        name = event.request_id
        one = self.by_name.setdefault(name, _OneRequest(name, self.rules, self.facts))
        if isinstance(event, Prediction):
            one.predicted(event, time_ms, serial)
            self.limit_open()
        elif one.first is None:
            self.limit_waiting()
            one.early.append((serial, time_ms, event))
        else:
            one.credit(event)

    def time(self, now_ms: int) -> None:
        if now_ms == self.now_ms:
            return
        self.now_ms = now_ms
        for one in self.by_name.values():
            one.time(now_ms)
        closed = [one for one in self.by_name.values() if one.closed]
        closed.sort(key=lambda one: (one.deadline_ms, one.opened))
        for one in closed[: max(0, len(closed) - self.rules.closed_max)]:
            one.forget()

    def limit_open(self) -> None:
        """The earliest deadline goes; of equal ones the request that came last."""
        there = [one for one in self.by_name.values() if one.first is not None and not one.closed]
        if len(there) > self.rules.open_max:
            gone = min(there, key=lambda one: (one.deadline_ms, -one.opened))
            self.facts["expired", "prediction", gone.name] += 1
            gone.forget()

    def limit_waiting(self) -> None:
        """Who has waited longest makes room for another one."""
        waiting = [(early[0], one) for one in self.by_name.values() for early in one.early]
        if len(waiting) >= self.rules.waiting_max:
            _, one = min(waiting, key=lambda pair: pair[0])
            _, _, event = one.early.pop(0)
            self.facts["expired", event.NAME, one.name] += 1


class _OneRequest:
    """The life of one request id."""

    def __init__(self, name: str, rules: JoinerSettings, facts: Counter[Fact]) -> None:
        self.name, self.rules, self.facts = name, rules, facts
        self.first: Prediction | None = None
        self.opened = self.deadline_ms = 0
        self.closed = False
        self.taken: dict[tuple[Any, ...], Any] = {}
        self.early: list[tuple[int, int, Any]] = []

    def forget(self) -> None:
        self.first, self.closed, self.taken = None, False, {}

    def time(self, now_ms: int) -> None:
        if self.first is not None and now_ms >= self.deadline_ms and not self.closed:
            self.closed = True
            if not self.first.deferred or ("activation",) in self.taken:
                self.facts["closed", self.name, *self.summary(), *self.scored()] += 1
        if self.closed and now_ms >= self.deadline_ms + self.rules.closed_memory_ms:
            self.forget()
        while self.early and now_ms >= self.early[0][1] + self.rules.early_wait_ms:
            _, _, event = self.early.pop(0)
            self.facts["orphan", event.NAME, self.name] += 1

    def predicted(self, event: Prediction, time_ms: int, serial: int) -> None:
        if self.first is not None:
            same = _identity(self.first) == _identity(event)
            self.facts["duplicate" if same else "conflict", "prediction", self.name] += 1
            return
        self.first, self.opened = event, serial
        begin_ms = max(time_ms, event.served_at) + event.reward_wait_ms + self.rules.grace_ms
        self.deadline_ms = (begin_ms + 99) // 100 * 100
        if not event.deferred:
            self.facts["exposure", self.name] += 1
        waiting, self.early = self.early, []
        for _, _, early in waiting:
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
