"""What the running step has asked of instances, and the note its strategy left.

A command is named by its decision and its place in it, so whoever decides the same gives the same
commands. Those in force are repeated until they expire: who was away hears them, who has heard
them drops them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidegate.schemas.events import Command
from tidegate.streams.deciding.proposals import Proposal
from tidegate.streams.rollout import Phase, Signal

if TYPE_CHECKING:
    from tidegate.streams.deciding.experiment import ExperimentState

REPEAT_MS = 5_000
MOVES_MAX = 8
"""On one occasion: a strategy that does not come to rest must not keep the fold from going on."""
REASON_CHARACTERS_MAX = 200

LASTING = ("stopped_ms", "first_ms")
"""What a strategy's note keeps when its step goes on after a pause or an amendment: a downtime."""

WAY_BACK = frozenset({Phase.ROLLED_BACK, Phase.ABORTED})
"""Phases in which a strategy undoes what it did to instances."""


@dataclass(slots=True)
class Deployment:
    """`issued` are the commands in force, `said_ms` is the log time of their last copy."""

    memo: dict[str, Any] = field(default_factory=dict)
    issued: list[Command] = field(default_factory=list)
    said_ms: int = 0

    @property
    def ids(self) -> frozenset[str]:
        """Ids of the commands in force."""
        return frozenset(command.command_id for command in self.issued)

    def follow(
        self, state: ExperimentState, before: Phase, proposal: Proposal, log_time_ms: int
    ) -> None:
        """What a decision that was just made means for commands and memo."""
        entered = proposal.step is not None or proposal.increment is not None
        if state.phase in WAY_BACK and before != state.phase:
            # Undoing needs to know what was being done.
            was = {name: value for name, value in self.memo.items() if name != "was"}
            self.memo, self.issued = {"ended_ms": log_time_ms, "was": was}, []
        elif entered:
            # The same place is looked at anew, but not what users have met there meanwhile.
            goes_on = proposal.signal in (Signal.RESUME, Signal.AMEND)
            kept = LASTING if goes_on else ()
            self.memo = {name: self.memo[name] for name in kept if name in self.memo}
            self.issued = []
        if proposal.memo is None:
            return
        self.memo = dict(proposal.memo)
        self.issued = [
            Command(
                command_id=f"{state.decision_id}/{number}",
                experiment=state.name,
                generation=state.generation,
                kind=item.kind,
                arguments={**item.arguments, "instance": item.instance},
                reason=proposal.reason[:REASON_CHARACTERS_MAX],
                decision_id=state.decision_id,
                expires_at=log_time_ms + item.patience_ms,
            )
            for number, item in enumerate(proposal.commands)
        ]
        self.said_ms = log_time_ms

    def due(self, phase: Phase, log_time_ms: int) -> Sequence[Command]:
        """Commands to say again now."""
        if log_time_ms - self.said_ms < REPEAT_MS or phase is Phase.PAUSED:
            return ()
        self.said_ms = log_time_ms
        return [command for command in self.issued if log_time_ms <= command.expires_at]

    def to_state(self) -> dict[str, Any]:
        """As JSON-able state."""
        issued = [command.to_dict() for command in self.issued]
        return {"memo": self.memo, "issued": issued, "said_ms": self.said_ms}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Deployment:
        """The inverse of `to_state`."""
        issued = [Command.from_dict(item) for item in state["issued"]]
        return cls(state["memo"], issued, state["said_ms"])
