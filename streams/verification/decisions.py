"""Are decisions, tables, commands and own rollbacks what the decider's input gives?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tidegate.schemas.codec import decode_as
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import Command, Control, Decision, Routing
from tidegate.streams.deciding.records import DECIDER_ROLE
from tidegate.streams.verification.findings import (
    COPIES_DIFFER,
    DIFFERS,
    MISSING,
    UNEXPECTED,
    Difference,
    Tally,
    digest,
)

Written = Decision | Routing | Command | Control
"""What a decider writes. A Control of its own is a ROLLBACK."""

_KINDS: Final[Mapping[str, type[Written]]] = {
    "decisions": Decision,
    "routing": Routing,
    "commands": Command,
    "control": Control,
}


@dataclass(slots=True)
class _Copy:
    """The first copy of a record."""

    digest: bytes
    offset: int
    log_time_ms: int
    derived: bool = False
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Covered:
    """A recorded decision and the observations it rests on: next sequence by source partition."""

    decision_id: str
    experiment: str
    offset: int
    log_time_ms: int
    covers: Mapping[str, int]


class DecisionAudit:
    """Compares what was written about one partition of experiments, record by record.

    Feed what was recorded first, then what is derived. Tables and commands are deleted in time,
    so only those still there are compared; decisions must be whole.
    """

    def __init__(self, partition: int, engine: str, experiment: str = "") -> None:
        """With `experiment`, only what concerns it is compared."""
        self.tallies = {topic: Tally() for topic in _KINDS}
        self.decisions: list[Covered] = []
        self._partition = partition
        self._engine = engine
        self._experiment = experiment
        self._recorded: dict[tuple[str, str], _Copy] = {}
        self._absent: list[tuple[str, int]] = []

    def recorded(self, topic: str, value: bytes | None, offset: int) -> None:
        """Take a record that was written; tombstones say nothing."""
        if value is None:
            return
        event = self._event(topic, value)
        if event is None:
            return
        tally = self.tallies[topic]
        tally.recorded += 1
        name = _name_of(event, value)
        copy = self._recorded.get((topic, name))
        if copy is not None:
            tally.copies += 1
            if copy.digest != digest(value):
                self._differs(topic, name, COPIES_DIFFER, offset, _log_time_ms(event))
            return
        self._recorded[topic, name] = _Copy(digest(value), offset, _log_time_ms(event))
        if isinstance(event, Decision):
            if event.engine != self._engine:
                tally.foreign(event.engine)
                self._recorded[topic, name].foreign = True
            self.decisions.append(
                Covered(name, event.experiment, offset, event.decided_at, event.covers)
            )

    def derived(self, topic: str, value: bytes | None) -> None:
        """Take the next record that the logs give."""
        event = None if value is None or topic not in _KINDS else self._event(topic, value)
        if event is None or value is None:
            return
        tally, name = self.tallies[topic], _name_of(event, value)
        tally.derived += 1
        copy = self._recorded.get((topic, name))
        if copy is None:
            if isinstance(event, Decision):
                self._absent.append((name, event.decided_at))
            return
        copy.derived = True
        if isinstance(event, Decision):
            # Later ones were written, so those that are absent should have been.
            for absent, log_time_ms in self._absent:
                self._differs(topic, absent, MISSING, -1, log_time_ms)
            self._absent.clear()
        if copy.foreign:
            return
        if copy.digest == digest(value):
            tally.equal += 1
        else:
            self._differs(topic, name, DIFFERS, copy.offset, copy.log_time_ms)

    def finish(self) -> None:
        """The logs of the partition are at their end."""
        for (topic, name), copy in self._recorded.items():
            if not copy.derived and not copy.foreign:
                self._differs(topic, name, UNEXPECTED, copy.offset, copy.log_time_ms)

    def _event(self, topic: str, value: bytes) -> Written | None:
        """The event, when it is one of those that are compared."""
        try:
            event: Written = decode_as(_KINDS[topic], value)
        except EventError:
            self.tallies[topic].unreadable += 1
            return None
        if isinstance(event, Control) and event.role != DECIDER_ROLE:
            return None
        if self._experiment and event.experiment != self._experiment:
            return None
        return event

    def _differs(self, topic: str, name: str, what: str, offset: int, log_time_ms: int) -> None:
        self.tallies[topic].differences.append(
            Difference(topic, self._partition, name, what, offset, log_time_ms)
        )


def first_covering(difference: Difference, decisions: Sequence[Covered]) -> Covered | None:
    """The first decision, in the order of its log, whose evidence covers a differing batch."""
    source = f"observations/{difference.source_partition}"
    return next((it for it in decisions if it.covers.get(source, 0) > difference.sequence), None)


def _name_of(event: Written, value: bytes) -> str:
    """What makes two records the same one: their id; for commands, which may share one, all."""
    if isinstance(event, Command):
        return f"{event.command_id} {digest(value).hex()}"
    if isinstance(event, Control):
        return event.control_id
    return event.decision_id


def _log_time_ms(event: Written) -> int:
    if isinstance(event, Decision):
        return event.decided_at
    if isinstance(event, Control):
        return event.issued_at
    return event.published_at if isinstance(event, Routing) else 0
