"""Live traffic in pieces worth handing on: what a message costs Faust is paid per tick, not per
record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from faust.types import TP

HOLD_SECONDS = 0.025
"""Folds go on at ticks only, so records between ticks may wait. They do not wait for the tick
itself, or all work of an interval would begin when it is over."""

HOLD_RECORDS = 500


class Gathering:
    """confluent-kafka messages held per topic-partition until a tick, enough of them, or time."""

    def __init__(self) -> None:
        self._held: dict[TP, list[Any]] = {}
        self._since: dict[TP, float] = {}

    def exchange(
        self, groups: Mapping[TP, list[Any]], now_seconds: float, everything: bool
    ) -> dict[TP, list[Any]]:
        """Take messages by topic-partition, each in order; give back what is due, or everything."""
        for tp, messages in groups.items():
            held = self._held.get(tp)
            if held is None:
                self._held[tp] = held = messages
                self._since[tp] = now_seconds
            else:
                held += messages
            if not everything and (len(held) >= HOLD_RECORDS or _has_mark(messages)):
                self._since[tp] = -inf
        latest = inf if everything else now_seconds - HOLD_SECONDS
        due = [tp for tp, since in self._since.items() if since <= latest]
        for tp in due:
            del self._since[tp]
        return {tp: self._held.pop(tp) for tp in due}

    def count(self, tp: TP) -> int:
        """How many messages of a topic-partition are held."""
        return len(self._held.get(tp, ()))

    def clear(self) -> None:
        """Forget what is held: it is read again."""
        self._held.clear()
        self._since.clear()


def _has_mark(messages: Iterable[Any]) -> bool:
    # A mark is a record without value.
    return any(message.value() is None for message in messages)
