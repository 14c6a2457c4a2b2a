"""What a person is told, and when: decisions and ALERT commands as messages.

Pure: records in, messages out. A message *halts* when it names a release that waits for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tidegate.schemas.events import Command, Decision

INFORMING, HALTING = "informing", "halting"

SEVERITIES: Final = ("info", "warning", "critical")
"""Ascending; `alerts: {min_severity: warning}` leaves out what is below."""

KINDS: Final[Mapping[str, str]] = {
    "APPLY": "info",
    "SET": "info",
    "ADVANCE": "info",
    "APPROVE": "info",
    "RETRY": "info",
    "PROMOTE": "info",
    "FINISH": "info",
    "RESUME": "info",
    "DEPLOY": "info",
    "HOLD": "info",
    "UPDATE": "info",
    "ABORT": "warning",
    "REFUSED": "warning",
    "STEP_BACK": "warning",
    "CLOSE_RING": "critical",
    "PAUSE": "warning",
    "ROLLBACK": "critical",
    "ALERT": "critical",
}
"""Actions of decisions, and ALERT, with their severity; what is not named here is `info`."""


@dataclass(frozen=True, slots=True)
class Message:
    """One alert; `identity` is the same however often its record is read."""

    identity: str
    kind: str
    severity: str
    effect: str
    title: str
    body: str


def of_decision(decision: Decision) -> Message:
    """A decision as a message.

    A paused release, and a step that cannot go on without a person, are halting.
    """
    kind = decision.action
    severity = KINDS.get(kind, "info")
    if kind == "HOLD" and decision.verdict == "FAIL":
        severity = "warning"
    effect = HALTING if decision.phase == "PAUSED" else INFORMING
    about = f" {decision.variant}" if decision.variant else ""
    title = f"{decision.experiment}: {kind.replace('_', ' ').lower()}{about}"
    lines = [decision.reason]
    if effect == HALTING:
        name = decision.experiment
        lines.append(
            f"The release waits for a person: tidegate resume {name}, tidegate promote {name},"
            f" or tidegate abort {name}."
        )
    lines.append(f"Decision {decision.decision_id}, generation {decision.generation}.")
    return Message(decision.decision_id, kind, severity, effect, title, "\n".join(lines))


def of_command(command: Command) -> Message | None:
    """An ALERT as a message; None for every other command."""
    if command.kind != "ALERT":
        return None
    title = f"{command.experiment or 'tidegate'}: alert"
    body = command.reason
    if command.decision_id:
        body += f"\nDecision {command.decision_id}, generation {command.generation}."
    return Message(command.command_id, "ALERT", KINDS["ALERT"], INFORMING, title, body)


def is_wanted(message: Message, kinds: tuple[str, ...], min_severity: str) -> bool:
    """Whether the settings ask for it; without kinds all are wanted."""
    if kinds and message.kind not in kinds:
        return False
    return SEVERITIES.index(message.severity) >= SEVERITIES.index(min_severity)
