"""What deciders wrote, held against their logs, and against rules that need no fold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeVar

from tests.faults.rows import Row
from tidegate.agents.kafka import read_topic
from tidegate.agents.replay import Replay
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import Control, Decision, Event, Routing
from tidegate.streams.deciding.records import DECIDER_ROLE
from tidegate.streams.routing import weights_of
from tidegate.streams.verification.findings import MISSING

_NOT_COMPARED = "not compared"
Written = TypeVar("Written", bound=Event)


class DecisionJudge:
    """Judges what is written by now; the logs must not grow any more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.rollbacks = (0, 0)
        """By people, by guardrails."""

    def judge(self, row: Row) -> bool:
        """Fill in what is lost and doubled by now; whether nothing is missing.

        A fact is a record of a decider, a request an order. The calm fold is an audit as `tidegate
        verify` does it, of observations too. Beside it, and without any fold: a version has one
        content, versions have no gap, each order is answered exactly once, and what was rolled back
        is in no later table of its generation.
        """
        report = Replay(self._settings).run()
        differences = report.differences
        missing = sum(each.what == MISSING for each in differences)
        # The audit of a running system says nothing of what comes behind the last that was written.
        behind = sum(tally.derived - tally.equal for tally in report.tallies.values())
        row.facts = sum(tally.equal for tally in report.tallies.values())
        row.copies = sum(tally.copies for tally in report.tallies.values())
        decisions = self._distinct("decisions", Decision)
        tables = self._distinct("routing", Routing)
        orders = self._distinct("control", Control)
        people = [order for order in orders if order.role != DECIDER_ROLE]
        row.requests = len(people)
        answers = Counter(each.control_id for each in decisions if each.control_id)
        unanswered = sum(not answers[order.control_id] for order in people)
        forgotten = rolled_back_and_served(decisions, tables)
        own = {order.control_id for order in orders if order.role == DECIDER_ROLE}
        untold = sum(
            each.action == "ROLLBACK" and not each.control_id and each.decision_id not in own
            for each in decisions
        )
        row.lost = max(missing, behind, unanswered + untold + forgotten + gaps(decisions))
        beyond = len(differences) - missing
        twice = sum(count - 1 for count in answers.values()) + repeated(decisions, orders)
        row.doubled = max(beyond, twice + ambiguous(decisions) + ambiguous(tables))
        self.rollbacks = (
            sum(each.action == "ROLLBACK" and bool(each.control_id) for each in decisions),
            len(own),
        )
        row.failures[:] = [each for each in row.failures if not each.startswith(_NOT_COMPARED)]
        row.failures += [f"{_NOT_COMPARED}: {each}" for each in report.incomparable]
        return not row.lost

    def _distinct(self, topic: str, kind: type[Written]) -> list[Written]:
        """Records of a topic without copies of equal bytes, each partition in order."""
        values = [each.value for each in read_topic(self._settings, topic)]
        return [decode_as(kind, value) for value in dict.fromkeys(values) if value is not None]


def ambiguous(records: Sequence[Decision | Routing]) -> int:
    """How many contents there are beyond one for each version of an experiment."""
    contents = Counter(
        (each.experiment, each.epoch, each.version) for each in records if each.version
    )
    return sum(count - 1 for count in contents.values())


def repeated(decisions: Sequence[Decision], orders: Sequence[Control]) -> int:
    """Rollbacks by guardrails beyond one for each variant of a generation, decided or ordered."""
    decided = Counter(
        (each.experiment, each.generation, each.variant)
        for each in decisions
        if each.action == "ROLLBACK" and not each.control_id
    )
    ordered = Counter(
        (each.experiment, each.generation, each.arguments["variant"])
        for each in orders
        if each.role == DECIDER_ROLE and each.action == "ROLLBACK"
    )
    return sum(count - 1 for found in (decided, ordered) for count in found.values())


def gaps(decisions: Sequence[Decision]) -> int:
    """Versions of experiments that nobody decided."""
    versions: dict[str, set[int]] = defaultdict(set)
    for each in decisions:
        if each.version:
            versions[each.experiment].add(each.version)
    return sum(max(found) - len(found) for found in versions.values())


def rolled_back_and_served(decisions: Sequence[Decision], tables: Sequence[Routing]) -> int:
    """Tables that give something to a variant which their generation has rolled back, or forget it.

    They obey a rollback from its own version on.
    """
    return sum(
        decided.variant not in table.rolled_back or weights_of(table)[decided.variant] > 0
        for decided in decisions
        if decided.action == "ROLLBACK" and decided.variant
        for table in tables
        if (table.experiment, table.generation) == (decided.experiment, decided.generation)
        and table.version >= decided.version
    )
