"""`tidegate rollback`: withdraw a variant, and say so only when every live client has done it.

The ROLLBACK record on `control` is obeyed by clients directly, so neither joiner nor decider need
run. A client is live when heard on `applied` within 15 s of log time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate.agents.commands.logs import (
    bounds,
    chunks_newest_first,
    experiment_partition,
    require_topics,
    table_of,
)
from tidegate.agents.commands.options import Output
from tidegate.agents.commands.orders import new_order, write_order
from tidegate.agents.commands.printing import print_facts
from tidegate.agents.kafka import Record, Tail
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.errors import DefinitionError, EventError
from tidegate.schemas.events import Applied, Routing
from tidegate.schemas.marks import Tick, read_mark
from tidegate.streams.deciding.clients import LIVE_MS

_RECORDS_MAX = 500_000
_POLL_SECONDS = 0.05


@dataclass(slots=True)
class Client:
    """One serving process, as told on `applied`."""

    instance: str
    heard_at_ms: int
    confirmed: bool = False


@dataclass(slots=True)
class Confirmations:
    """Who is live in one partition of `applied`, and who holds the variant at 0."""

    experiment: str
    generation: int
    variant: str
    log_time_ms: int = 0
    clients: dict[str, Client] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """One record of `applied`, in order."""
        if record.value is None:
            mark = read_mark(record.headers)
            if isinstance(mark, Tick):
                self.log_time_ms = max(self.log_time_ms, mark.log_time_ms)
            return
        try:
            word = decode_as(Applied, record.value)
        except EventError:
            return
        if word.kind == "GOODBYE":
            self.clients.pop(word.client_id, None)
            return
        client = self.clients.setdefault(word.client_id, Client(word.instance, 0))
        client.heard_at_ms = self.log_time_ms
        if word.kind == "CHANGE" and word.experiment == self.experiment:
            later = word.generation > self.generation
            same = word.generation == self.generation and self.variant in word.rolled_back
            client.confirmed = later or same

    def live(self) -> dict[str, Client]:
        """Clients heard within 15 s of log time, by id."""
        return {
            name: client
            for name, client in sorted(self.clients.items())
            if self.log_time_ms - client.heard_at_ms < LIVE_MS
        }

    def missing(self) -> list[str]:
        """Live clients that have not confirmed."""
        return [name for name, client in self.live().items() if not client.confirmed]


def run_rollback(
    settings: Settings, name: str, reason: str, actor: str, role: str, variant: str,
    to: str, seconds: float, output: Output,
) -> int:
    """Roll a variant back and wait for every live client; 0, or 4 naming who has not confirmed.

    Raises:
        DefinitionError: which variant is meant is not clear, or `to` cannot take over.
        Unreachable: the broker did not take the order.
    """
    require_topics(settings, "control", "applied", "routing")
    table = table_of(settings, name)
    chosen = _variant(table, variant)
    if to:
        _require_heir(table, chosen, to)
    arguments = {"variant": chosen, **({"to": to} if to else {})}
    order = new_order(
        name, "ROLLBACK", actor, reason, arguments, generation=table.generation, role=role
    )
    began = time.monotonic()
    write_order(settings, order)
    confirmations = Confirmations(name, table.generation, chosen)
    _wait(settings, confirmations, chosen in table.rolled_back, began + seconds)
    elapsed = time.monotonic() - began
    live, missing = confirmations.live(), confirmations.missing()
    print_facts(
        {
            "experiment": name, "generation": table.generation, "variant": chosen,
            "control_id": order.control_id, "live": len(live),
            "confirmed": len(live) - len(missing), "missing": missing, "seconds": round(elapsed, 3),
        },
        output,
        lambda facts: [_sentence(facts, live)],
    )  # fmt: skip
    return 4 if missing else 0


def _variant(table: Routing, variant: str) -> str:
    """The variant that is withdrawn: the one named, or the only candidate."""
    candidates = [item.name for item in table.variants if item.name != table.control]
    if not variant and len(candidates) == 1:
        return candidates[0]
    if variant in candidates:
        return variant
    said = f"{variant} cannot be rolled back" if variant else "Which variant is meant is not clear"
    raise DefinitionError(
        f"{said}: {table.experiment} has the candidates {', '.join(candidates)}, and control"
        f" {table.control} is what one rolls back to. Nothing was changed. Write --variant"
        f" {candidates[0] if candidates else 'NAME'}, or `tidegate abort {table.experiment}` to"
        " let control serve everybody."
    )


def _require_heir(table: Routing, variant: str, to: str) -> None:
    withdrawn = {variant, *table.rolled_back}
    heirs = [item.name for item in table.variants if item.name not in withdrawn]
    if to not in heirs:
        raise DefinitionError(
            f"{to} cannot take over from {variant} in {table.experiment}: those that can are"
            f" {', '.join(heirs)}. Nothing was changed. Write --to {table.control}, or leave"
            " --to out, which means control."
        )


def _wait(
    settings: Settings, confirmations: Confirmations, repeated: bool, deadline: float
) -> None:
    """Reads `applied` until no live client is missing, or the deadline has passed."""
    partition = experiment_partition(settings, confirmations.experiment)
    end = bounds(settings, "applied", partition)[1]
    with Tail(settings, ["applied"], {("applied", partition): end}) as tail:
        for record in _recent(settings, confirmations, partition, end, repeated):
            confirmations.take(record)
        while confirmations.missing() and time.monotonic() < deadline:
            for record in tail.poll(_POLL_SECONDS):
                if record.partition == partition:
                    confirmations.take(record)


def _recent(
    settings: Settings, confirmations: Confirmations, partition: int, end: int, repeated: bool
) -> list[Record]:
    """Records of `applied` up to `end` that tell who is live.

    A client that obeyed an earlier order for the same variant may not say so again: when the
    order repeats one, as much is read as is needed to find when it did.
    """
    found: list[Record] = []
    for chunk in chunks_newest_first(settings, "applied", partition, end):
        found = chunk + found
        probe = replace(confirmations, clients={})
        for record in found:
            probe.take(record)
        marks = (read_mark(record.headers) for record in found if record.value is None)
        first = next((mark.log_time_ms for mark in marks if isinstance(mark, Tick)), None)
        covered = first is not None and first <= probe.log_time_ms - LIVE_MS
        if (covered and not (repeated and probe.missing())) or len(found) > _RECORDS_MAX:
            break
    return found


def _sentence(facts: dict[str, Any], live: dict[str, Client]) -> str:
    what = f"{facts['experiment']} g{facts['generation']}: {facts['variant']} rolled back"
    if not live:
        return f"{what}; no client is live, so there is nobody to confirm it"
    count = f"{facts['confirmed']} of {facts['live']} live clients within {facts['seconds']:.2f} s"
    if not facts["missing"]:
        return f"{what}, confirmed by {count}"
    names = ", ".join(f"{name} ({live[name].instance})" for name in facts["missing"])
    return (
        f"{what}, but confirmed by only {count}. Not confirmed by {names}: they may still serve"
        " it. The order stands and they obey it when they read it; look at these processes."
    )
