"""Instances that obey commands, as told on `applied`: what runs on each, and how it went.

Words are whole: each says everything that runs, so the last one counts and a lost one is made up
for by the next. Memory is bounded and forgotten by log time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tidegate.schemas.events import Applied
from tidegate.streams.deciding.clients import LIVE_MS
from tidegate.streams.strategies.instances import Artifact, Instance

REMEMBERED_MS = 600_000
INSTANCES_MAX = 10_000

_Place = tuple[str, str]
"""(experiment, instance)."""


@dataclass(slots=True)
class Member:
    """The last word of one instance about one experiment."""

    client_id: str
    heard_at_ms: int
    servers: dict[Artifact, str] = field(default_factory=dict)
    answered: str = ""
    outcome: str = ""
    detail: str = ""


class Fleet:
    """All instances heard in this partition of `applied`."""

    __slots__ = ("_by_experiment", "_members")

    def __init__(self) -> None:
        self._members: dict[_Place, Member] = {}  # in the order of their last words
        self._by_experiment: dict[str, dict[str, Member]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def hear(self, word: Applied, log_time_ms: int) -> bool:
        """Takes the word of an instance; whether it says anything new.

        GOODBYE of a process that another has replaced says nothing.
        """
        place = (word.experiment, word.instance)
        known = self._members.get(place)
        if word.kind == "GOODBYE":
            if known is None or known.client_id != word.client_id:
                return False
            self._drop(place)
            return True
        said = Member(
            word.client_id,
            log_time_ms,
            {(item.model, item.version): item.health for item in word.servers or ()},
            word.command_id or "",
            word.outcome or "",
            word.detail or "",
        )
        is_back = known is None or log_time_ms - known.heard_at_ms >= LIVE_MS
        is_new = is_back or known is None or _told(known) != _told(said)
        if known is not None:
            self._drop(place)
        while len(self._members) >= INSTANCES_MAX:
            self._drop(next(iter(self._members)))
        self._members[place] = said
        self._by_experiment.setdefault(word.experiment, {})[word.instance] = said
        return is_new

    def forget(self, log_time_ms: int) -> None:
        """Drops who was silent for `REMEMBERED_MS`."""
        due_ms = log_time_ms - REMEMBERED_MS
        while self._members:
            place = next(iter(self._members))
            if self._members[place].heard_at_ms > due_ms:
                return
            self._drop(place)

    def of(self, experiment: str, log_time_ms: int) -> tuple[Instance, ...]:
        """The instances of an experiment by name, as strategies see them."""
        return tuple(
            Instance(
                name,
                member.heard_at_ms,
                log_time_ms - member.heard_at_ms < LIVE_MS,
                member.servers,
                member.answered,
                member.outcome,
                member.detail,
            )
            for name, member in sorted(self._by_experiment.get(experiment, {}).items())
        )

    def to_state(self) -> list[list[Any]]:
        """As JSON-able state; a list, because order of last word matters."""
        return [
            [
                *place,
                member.client_id,
                member.heard_at_ms,
                [[*artifact, health] for artifact, health in sorted(member.servers.items())],
                member.answered,
                member.outcome,
                member.detail,
            ]
            for place, member in self._members.items()
        ]

    @classmethod
    def from_state(cls, state: list[list[Any]]) -> Fleet:
        """The inverse of `to_state`."""
        fleet = cls()
        for experiment, instance, client_id, heard_at_ms, servers, *answer in state:
            runs = {(model, version): health for model, version, health in servers}
            member = Member(client_id, heard_at_ms, runs, *answer)
            fleet._members[experiment, instance] = member
            fleet._by_experiment.setdefault(experiment, {})[instance] = member
        return fleet

    def _drop(self, place: _Place) -> None:
        experiment, instance = place
        del self._members[place]
        members = self._by_experiment[experiment]
        del members[instance]
        if not members:
            del self._by_experiment[experiment]


def _told(member: Member) -> tuple[Any, ...]:
    return member.client_id, member.servers, member.answered, member.outcome, member.detail
