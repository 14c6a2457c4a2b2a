"""Bugs planted in the real modules at run time: the simulator must catch every one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from tidegate.agents import ticker
from tidegate.agents.client import client as client_module
from tidegate.agents.client import link, tables
from tidegate.agents.hosting import restore
from tidegate.agents.hosting.snapshots import Manifest
from tidegate.schemas.events import Control, Routing
from tidegate.streams import assignment, folding, merge
from tidegate.streams.deciding import experiment, judging, memory, moves, orders, records
from tidegate.streams.deciding import clients as clients_module
from tidegate.streams.deciding.sequences import Reading, Sequences
from tidegate.streams.estimation import ledger
from tidegate.streams.joining import (
    attribution,
    batches,
    contexts,
    predictions,
    requests,
    waiting,
)

JOINING: Final = ("join",)
DECIDING: Final = ("decide",)
ALL: Final = ("join", "decide", "loop")


@dataclass(frozen=True, slots=True)
class Bug:
    """A change of one attribute of the real code; `sentence` says what goes wrong."""

    sentence: str
    kinds: tuple[str, ...]
    owner: Any
    name: str
    wrong: Any

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The bug is there inside."""
        right = vars(self.owner)[self.name]
        setattr(self.owner, self.name, self.wrong)
        try:
            yield
        finally:
            setattr(self.owner, self.name, right)


@dataclass(frozen=True, slots=True)
class Caught:
    """How a planted bug was found: the first seed, -1 for never, and by which invariants."""

    name: str
    schedules: int
    first_seed: int
    invariants: Counter[str]

    @property
    def hit_rate(self) -> float:
        """Share of schedules that found it."""
        return sum(self.invariants.values()) / max(1, self.schedules)


def _after(owner: Any, name: str, then: Callable[..., Any]) -> Any:
    """The original, its result passed through `then(result, *arguments)`."""
    right = vars(owner)[name]

    def wrong(*arguments: Any, **named: Any) -> Any:
        return then(right(*arguments, **named), *arguments)

    return wrong


def _before(owner: Any, name: str, change: Callable[..., tuple[Any, ...]]) -> Any:
    """The original with its arguments passed through `change`."""
    right = vars(owner)[name]

    def wrong(*arguments: Any, **named: Any) -> Any:
        return right(*change(*arguments), **named)

    return wrong


def _nothing(*_: Any, **__: Any) -> None:
    """Does not do what should be done."""


# -- joining


def _find_by_value(state: bytes, start: int, name: bytes) -> int:
    return state.find(name[:4], start)


def _blocked_on_higher(self: Any) -> int:
    best, best_ms = 0, -1
    for rank, segments in enumerate(self._segments):
        time_ms = segments[0].log_time_ms if segments else self._fed_times_ms[rank]
        if best_ms < 0 or time_ms <= best_ms:
            best, best_ms = rank, time_ms
    return best


def _impatient(self: Any) -> Any:
    """Releases whatever is there, by log time: an empty log is not waited for."""
    heads = [(segments[0].log_time_ms, rank) for rank, segments in enumerate(self._segments)
             if segments]  # fmt: skip
    if not heads:
        return None
    rank = min(heads)[1]
    return rank, self._segments[rank][0]


def _summary_by_arrival(entries: bytes) -> Any:
    found = _summarise(entries)
    return [(metric, n, last, first, total, low, high)
            for metric, n, first, last, total, low, high in found]  # fmt: skip


_summarise = attribution.summarise


def _load_without_times(self: Any, state: bytes) -> None:
    _load(self, state)
    self.merge = merge.Merge(self.merge.next_offsets, [0] * 3, self.merge.jumps_ms)


def _load_without_jumps(self: Any, state: bytes) -> None:
    _load(self, state)
    self.merge = merge.Merge(self.merge.next_offsets, self.merge.log_times_ms)


_load = folding.PartitionFold.load


def _old_numbers(self: Any, columns: Any) -> Any:
    """Layouts of measures are numbered later, as it was before the simulator found it."""
    interner = self._state.interned.layouts
    pairs = [doubles or ((), b"") for doubles in columns.features]
    return interner.numbers([names for names, _ in pairs]), [len(names) for names, _ in pairs]


def _one_shot_timer(self: Any, deadline_ms: int) -> list[bytes]:
    keys: list[bytes] = _timer(self, deadline_ms)
    return keys if len(self.open) < 3 or keys else []


_timer = requests.Requests.timer


def _trusting(manifest: Manifest, chunks: list[bytes]) -> bytes | None:
    state = restore_unpack(replace(manifest), chunks)
    return state if state is not None or not chunks else b"".join(chunks)


restore_unpack = restore.unpack


# -- deciding


def _gap_is_next(self: Sequences, source: int, sequence: int, log_time_ms: int) -> Reading:
    if sequence < self.expected[source]:
        return Reading.KNOWN
    self.expected[source] = sequence
    return Reading.NEXT


def _known_is_next(self: Sequences, source: int, sequence: int, log_time_ms: int) -> Reading:
    if sequence > self.expected[source]:
        return Reading.GAP
    return Reading.NEXT


def _fault_without(**ignored: int) -> Any:
    right = orders.fault_of

    def wrong(order: Control, generation: int, log_time_ms: int, stamped_ms: int) -> str:
        blind = replace(order, **ignored)
        return right(blind, generation, log_time_ms, stamped_ms)

    return wrong


def _keep_ledger(state: Any, spec: Any, new_generation: bool) -> None:
    before = state.ledger
    _take_spec(state, spec, new_generation)
    if new_generation and before.plan.variants == state.ledger.plan.variants:
        before.plan = state.ledger.plan
        state.ledger = before


def _keep_rolled_back(state: Any, spec: Any, new_generation: bool) -> None:
    before = state.rolled_back
    _take_spec(state, spec, new_generation)
    state.rolled_back = before


def _forget_rolled_back(state: Any, spec: Any, new_generation: bool) -> None:
    _take_spec(state, spec, new_generation)
    state.rolled_back = []


_take_spec = experiment._take_spec


def _keep_share(proposal: Any, state: Any, *_: Any) -> Any:
    return replace(proposal, shares=None)


def _tombstone_newest(self: Any, state: Any, log_time_ms: int) -> None:
    _table(self, state, log_time_ms)
    if len(state.tables) > 1:
        key = records._table_key(state.name, state.tables.pop())
        self._emit(records.Output("routing", self.partition, key, None))


_table = records.Journal.table


def _no_seen(self: Any, control_id: str, issued_at_ms: int, log_time_ms: int) -> None:
    """Order ids are not remembered."""


def _forgetful_seen(self: Any) -> dict[str, int]:
    return {}


def _forgetful_sequences(state: dict[str, Any]) -> Sequences:
    return Sequences(len(state["expected"]))


def _learn_all(self: Any, batch: Any) -> None:
    changed = [context._replace(reason="SPLIT") for context in batch.contexts]
    _observe(self, replace(batch, contexts=changed))


_observe = ledger.Ledger.observe


def _any_generation(self: Any, batch: Any) -> None:
    changed = [context._replace(generation=self.plan.generation) for context in batch.contexts]
    _observe(self, replace(batch, contexts=changed))


def _breach_early(state: Any) -> Any:
    for reading in judging.readings(state):
        if reading.n and reading.value and reading.candidate in state.candidates:
            found = judging._react(state, replace(reading, verdict=judging.Verdict.FAIL))
            return found if state.phase in judging.GUARDED else None
    return None


# -- serving


def _latest_wins(self: Any, routing: Routing, partition: int) -> None:
    known = self._known.setdefault(routing.experiment, tables.Known(partition))
    known.routing = routing
    self._changed.add(routing.experiment)
    self._roll_back(routing.experiment, known, routing.generation, routing.rolled_back)


def _obey_any_generation(self: Any, control: Control, partition: int, timestamp_ms: int) -> None:
    known = self._known.get(control.experiment)
    running = known.routing.generation if known is not None and known.routing else 0
    _take_control(self, replace(control, generation=running), partition, timestamp_ms)


def _obey_late(self: Any, control: Control, partition: int, timestamp_ms: int) -> None:
    _take_control(self, control, partition, 0)


_take_control = tables.Tables.take_control


def _replace_rolled_back(
    self: Any, name: str, known: Any, generation: int, names: Any
) -> None:
    known.rolled_back[generation] = set(names)
    self._changed.add(name)


def _prepare_blind(routing: Routing, rolled_back: Any = (), cut: Any = ()) -> Any:
    return _prepare(replace(routing, rolled_back=()), (), cut)


def _prepare_wrong_shares(found: Any, *_: Any) -> Any:
    return replace(found, answers=tuple((name, min(1.0, share + 0.01), reason)
                                        for name, share, reason in found.answers))  # fmt: skip


_prepare = assignment.prepare


def _never_stale(table: Any, request_id: str, reason: str = "STALE") -> Any:
    return assignment.assign(table, request_id, request_id, True)


def _silent_ticker(self: Any, place: Any, to_ms: int) -> None:
    self._reached_ms[place] = to_ms


BUGS: Final[Mapping[str, Bug]] = {
    "window closed above": Bug(
        "an outcome exactly at the end of the reward wait is credited", JOINING, attribution,
        "in_window", lambda after, wait, early: -early <= after <= wait),
    "window open below": Bug(
        "an outcome exactly at the early tolerance is refused", JOINING, attribution,
        "in_window", lambda after, wait, early: -early < after < wait),
    "deadline without served_at": Bug(
        "a request served ahead of log time closes too early", JOINING, attribution,
        "deadline_ms", lambda log_ms, served_ms, wait_ms: -(-(log_ms + wait_ms) // 100) * 100),
    "deadline rounded down": Bug(
        "requests close up to 100 ms early", JOINING, attribution, "deadline_ms",
        lambda log_ms, served_ms, wait_ms: (max(log_ms, served_ms) + wait_ms) // 100 * 100),
    "no duplicates known": Bug(
        "an outcome that is told twice counts twice", JOINING, attribution, "find_entry",
        lambda state, start, name: -1),
    "duplicates by metric": Bug(
        "a second outcome of a metric is taken for a repetition", JOINING, attribution,
        "find_entry", _find_by_value),
    "first and last changed places": Bug(
        "the last value of a metric is told as its first", JOINING, attribution, "summarise",
        _summary_by_arrival),
    "labels always agree": Bug(
        "a disagreeing shadow is told as agreeing", JOINING, attribution, "agreement",
        lambda label, other: 1 if label and other else 2),
    "future by either clock": Bug(
        "an old log time alone makes an event one from the future", JOINING, attribution,
        "is_from_the_future",
        lambda event_ms, log_ms, stamp_ms, tolerance_ms:
            event_ms > log_ms + tolerance_ms or event_ms > stamp_ms + tolerance_ms),
    "closed forgotten early": Bug(
        "a closed request is forgotten at once and its repetition counts again", JOINING,
        requests.Requests, "forget",
        _before(requests.Requests, "forget", lambda self, through, most:
                (self, through + 2_000, most))),
    "timers lose the last": Bug(
        "a restart forgets one open request's timer", JOINING, requests.Requests, "load_timers",
        _before(requests.Requests, "load_timers", lambda self, counts, keys:
                (self, [[at, n - (number == len(counts) - 1)]
                        for number, (at, n) in enumerate(counts)], keys))),
    "waiting lost at a restart": Bug(
        "outcomes that wait for their prediction are gone after a restart", JOINING,
        waiting.Waiting, "load", _nothing),
    "sequence begins anew": Bug(
        "after a restart batches are numbered from 0 again", JOINING, batches.Batches, "load",
        _before(batches.Batches, "load", lambda self, heads, blocks:
                (self, [[0, cut_ms, room] for _, cut_ms, room in heads], blocks))),
    "last cut forgotten": Bug(
        "after a restart a batch is cut at another tick", JOINING, batches.Batches, "load",
        _before(batches.Batches, "load", lambda self, heads, blocks:
                (self, [[sequence, 0, room] for sequence, _, room in heads], blocks))),
    "numbers not taken back": Bug(
        "interned numbers are forgotten after a restart", JOINING, contexts.Interner, "load",
        _before(contexts.Interner, "load", lambda self, found, read:
                (self, [pair and [pair[0], -1] for pair in found], read))),
    "nobody expires": Bug(
        "more requests are open than may be", JOINING, predictions.Predictions, "_expire",
        _nothing),
    "timers lost in a crowd": Bug(
        "with three open requests a new deadline gets no timer", JOINING, requests.Requests, "timer",
        _one_shot_timer),
    "layouts numbered by run": Bug(
        "numbers depend on where a fetch ended", JOINING, predictions.Predictions, "_layouts",
        _old_numbers),
    "ties to the higher rank": Bug(
        "of equal log times outcomes go before predictions", JOINING, merge.Merge, "blocked_on",
        _blocked_on_higher),
    "empty logs not waited for": Bug(
        "the order depends on what was fetched first", JOINING, merge.Merge, "head", _impatient),
    "ticks may go back": Bug(
        "a second ticker's older tick sets log time back", JOINING, merge, "_after_tick",
        lambda time_ms, jump_ms, tick_ms: tick_ms),
    "any jump is believed": Bug(
        "a broken clock moves log time without announcement", JOINING, merge,
        "MAX_TICK_STEP_MS", 10**15),
    "no announcements": Bug(
        "the ticker never announces a jump, and time stands still for ever", JOINING,
        ticker.Ticker, "_announce", _silent_ticker),
    "log times not restored": Bug(
        "after a restart records have log time 0 until the next tick", JOINING,
        folding.PartitionFold, "load", _load_without_times),
    "jumps not restored": Bug(
        "after a restart an announced jump is not believed", JOINING, folding.PartitionFold,
        "load", _load_without_jumps),
    "damaged checkpoint believed": Bug(
        "what does not verify is gone on from", JOINING, restore, "unpack", _trusting),
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
        _after(moves, "roll_back", _keep_share)),
    "newest table withdrawn": Bug(
        "the tombstone goes to the newest table", DECIDING, records.Journal, "table",
        _tombstone_newest),
    "table without rollbacks": Bug(
        "tables do not name who is rolled back", DECIDING, records, "table_of",
        _after(records, "table_of", lambda table, *_: replace(table, rolled_back=()))),
    "chain broken": Bug(
        "decisions do not name the one before", DECIDING, experiment, "chain", _nothing),
    "breakers are learnt from": Bug(
        "requests with reason BREAKER are learnt from", DECIDING, ledger.Ledger, "observe",
        _learn_all),
    "generations are not told apart": Bug(
        "facts of older generations are counted", DECIDING, ledger.Ledger, "observe",
        _any_generation),
    "guardrails without proof": Bug(
        "a guardrail fails on any error at all", DECIDING, judging, "breach", _breach_early),
    "clients forgotten at a restart": Bug(
        "after a restart the decider knows no service", DECIDING, clients_module.Clients,
        "to_state", lambda self: []),
    "last table wins": Bug(
        "a service obeys whichever table came last, an old writer's too", DECIDING,
        tables.Tables, "take_routing", _latest_wins),
    "rollbacks of any generation obeyed": Bug(
        "a service obeys a rollback meant for another generation", DECIDING, tables.Tables,
        "take_control", _obey_any_generation),
    "expired rollbacks obeyed": Bug(
        "a service obeys an expired rollback", DECIDING, tables.Tables, "take_control",
        _obey_late),
    "rollbacks replaced": Bug(
        "a later rollback brings the earlier variant back", DECIDING, tables.Tables,
        "_roll_back", _replace_rolled_back),
    "withheld variants serve": Bug(
        "a service knows of the rollback and serves all the same", DECIDING, tables, "prepare",
        _prepare_blind),
    "propensities a little off": Bug(
        "the propensity told is not the one drawn with", DECIDING, tables, "prepare",
        _after(tables, "prepare", _prepare_wrong_shares)),
    "obeyed before everything is read": Bug(
        "a starting service obeys a table before it has read the rollbacks", DECIDING,
        link.Link, "heard_routing",
        _after(link.Link, "heard_routing", lambda _, self, *__: self._tables.publish())),
    "deaf and confident": Bug(
        "a service that hears nothing for long serves by its old table", DECIDING,
        client_module, "control_only", _never_stale),
}  # fmt: skip
"""By name."""
