"""Bugs of the decider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tests.simulation.planting import DECIDING, Bug, after, before, nothing
from tidegate.schemas.events import Control
from tidegate.streams.deciding import clients, experiment, guarding, memory, moves, orders, records
from tidegate.streams.deciding.sequences import Reading, Sequences
from tidegate.streams.deciding.tables import table_key
from tidegate.streams.estimation import ledger
from tidegate.streams.output import Output
from tidegate.streams.strategies import canary
from tidegate.streams.strategies.base import Verdict


def _gap_is_next(self: Sequences, source: int, sequence: int, log_time_ms: int) -> Reading:
    if sequence < self.expected[source]:
        return Reading.KNOWN
    self.expected[source] = sequence
    return Reading.NEXT


def _known_is_next(self: Sequences, source: int, sequence: int, log_time_ms: int) -> Reading:
    if sequence > self.expected[source]:
        return Reading.GAP
    return Reading.NEXT


def _fault_without(**ignored: Any) -> Any:
    right = orders.fault_of

    def wrong(order: Control, generation: int, log_time_ms: int, stamped_ms: int) -> str:
        blind = replace(order, **ignored)
        return right(blind, generation, log_time_ms, stamped_ms)

    return wrong


def _keep_ledger(state: Any, spec: Any, new_generation: bool) -> None:
    kept = state.ledger
    _take_spec(state, spec, new_generation)
    if new_generation and kept.plan.variants == state.ledger.plan.variants:
        kept.plan = state.ledger.plan
        state.ledger = kept


def _keep_rolled_back(state: Any, spec: Any, new_generation: bool) -> None:
    kept = state.rolled_back
    _take_spec(state, spec, new_generation)
    state.rolled_back = kept


def _forget_rolled_back(state: Any, spec: Any, new_generation: bool) -> None:
    _take_spec(state, spec, new_generation)
    state.rolled_back = []


_take_spec = experiment._take_spec


def _keep_share(proposal: Any, state: Any, *_: Any) -> Any:
    return replace(proposal, shares=None)


def _tombstone_newest(self: Any, state: Any, log_time_ms: int) -> None:
    _table(self, state, log_time_ms)
    if len(state.tables) > 1:
        key = table_key(state.name, state.tables.pop())
        self._emit(Output("routing", self.partition, key, None))


_table = records.Journal.table


def _no_seen(self: Any, control_id: str, issued_at_ms: int, log_time_ms: int) -> None:
    """Order ids are not remembered."""


def _forgetful_seen(self: Any) -> dict[str, int]:
    return {}


def _forgetful_sequences(state: dict[str, Any]) -> Sequences:
    return Sequences(len(state["expected"]))


def _learn_all(self: Any, batch: Any, summary: Any = None) -> None:
    changed = [context._replace(reason="SPLIT") for context in batch.contexts]
    _observe(self, replace(batch, contexts=changed))


_observe = ledger.Ledger.observe


def _any_generation(self: Any, batch: Any, summary: Any = None) -> None:
    changed = [context._replace(generation=self.plan.generation) for context in batch.contexts]
    _observe(self, replace(batch, contexts=changed))


def _breach_early(state: Any) -> Any:
    for reading in guarding.readings(state):
        if reading.n and reading.value and reading.candidate in state.candidates:
            found = guarding._react(state, replace(reading, verdict=Verdict.FAIL))
            return found if state.phase in guarding.GUARDED else None
    return None


BUGS: Final[Mapping[str, Bug]] = {
    "a gap is the next batch": Bug(
        "a lost batch is skipped in silence", DECIDING, Sequences, "read", _gap_is_next),
    "known batches count again": Bug(
        "what a restarted joiner repeats is counted twice", DECIDING, Sequences, "read",
        _known_is_next),
    "sequences not restored": Bug(
        "after a restart all batches are gaps or repetitions", DECIDING, Sequences,
        "from_state", staticmethod(_forgetful_sequences)),
    "orders not remembered": Bug(
        "an order that arrives twice is carried out twice", DECIDING, memory.SeenIds, "add",
        _no_seen),
    "orders forgotten at a restart": Bug(
        "after a restart a repeated order is carried out again", DECIDING, memory.SeenIds,
        "to_state", _forgetful_seen),
    "generation of orders ignored": Bug(
        "an order for an older generation is carried out", DECIDING, orders, "fault_of",
        _fault_without(generation=0)),
    "expiry of orders ignored": Bug(
        "an expired order is carried out", DECIDING, orders, "fault_of",
        _fault_without(expires_at=0)),
    "statistics survive a generation": Bug(
        "statistics of two generations are mixed", DECIDING, experiment, "_take_spec",
        _keep_ledger),
    "rollbacks survive a generation": Bug(
        "a new generation begins with variants rolled back", DECIDING, experiment, "_take_spec",
        _keep_rolled_back),
    "amending forgets rollbacks": Bug(
        "an amended manifest brings a rolled-back variant back", DECIDING, experiment,
        "_take_spec", _forget_rolled_back),
    "rolled back in name only": Bug(
        "a rolled-back variant keeps its share", DECIDING, moves, "roll_back",
        after(moves, "roll_back", _keep_share)),
    "newest table withdrawn": Bug(
        "the tombstone goes to the newest table", DECIDING, records.Journal, "table",
        _tombstone_newest),
    "table without rollbacks": Bug(
        "tables do not name who is rolled back", DECIDING, records, "table_of",
        after(records, "table_of", lambda table, *_: replace(table, rolled_back=()))),
    "chain broken": Bug(
        "decisions do not name the one before", DECIDING, experiment, "chain", nothing),
    "breakers are learnt from": Bug(
        "requests with reason BREAKER are learnt from", DECIDING, ledger.Ledger, "observe",
        _learn_all),
    "generations are not told apart": Bug(
        "facts of older generations are counted", DECIDING, ledger.Ledger, "observe",
        _any_generation),
    "guardrails without proof": Bug(
        "a guardrail fails on any error at all", DECIDING, guarding, "breach", _breach_early),
    "cap ignored": Bug(
        "a canary gets twice the share that its manifest says", DECIDING, canary, "split",
        before(canary, "split", lambda share, *names: (2 * share, *names))),
    "clients forgotten at a restart": Bug(
        "after a restart the decider knows no service", DECIDING, clients.Clients,
        "to_state", lambda self: []),
}  # fmt: skip
