"""Live traffic in pieces worth handing on: what a message costs Faust is paid per tick, not per
record.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        self._due: set[TP] = set()

    def add(self, groups: Mapping[TP, list[Any]], now_seconds: float) -> None:
        """Take messages by topic-partition, each in order."""
        for tp, messages in groups.items():
            held = self._held.get(tp)
            if held is None:
                self._held[tp] = held = messages
                self._since[tp] = now_seconds
            else:
                held += messages
            # A mark is a record without value.
            if len(held) >= HOLD_RECORDS or any(message.value() is None for message in messages):
                self._due.add(tp)

    def count(self, tp: TP) -> int:
        """How many messages of a topic-partition are held."""
        held = self._held.get(tp)
        return len(held) if held is not None else 0

    def take(self, now_seconds: float, everything: bool) -> dict[TP, list[Any]]:
        """What is due, or everything; it is held no longer."""
        chosen = [
            tp
            for tp, since in self._since.items()
            if everything or tp in self._due or now_seconds - since >= HOLD_SECONDS
        ]
        taken = {tp: self._held.pop(tp) for tp in chosen}
        for tp in chosen:
            del self._since[tp]
        self._due.difference_update(chosen)
        return taken

    def clear(self) -> None:
        """Forget what is held: it is read again."""
        self._held.clear()
        self._since.clear()
        self._due.clear()
