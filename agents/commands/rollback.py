"""`tidegate rollback`: withdraw a variant, and say so only when every live client has done it.

The ROLLBACK record on `control` is obeyed by clients directly, so neither joiner nor decider need
run. A client is live when heard on `applied` within 15 s of log time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tidegate.agents.commands.logs import require_topics, table_of
from tidegate.agents.commands.options import Output
from tidegate.agents.commands.orders import new_order, write_order
from tidegate.agents.commands.printing import print_facts
from tidegate.agents.kafka import Record, Tail, new_consumer, read_topic, watermarks
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.errors import DefinitionError, EventError
from tidegate.schemas.events import Applied, Routing
from tidegate.schemas.marks import Tick, read_mark

LIVE_MS = 15_000
_WINDOW_RECORDS = 20_000
_POLL_SECONDS = 0.05


@dataclass(slots=True)
class _Client:
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
    _clients: dict[str, _Client] = field(default_factory=dict)

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
            self._clients.pop(word.client_id, None)
            return
        client = self._clients.setdefault(word.client_id, _Client(word.instance, 0))
        client.heard_at_ms = self.log_time_ms
        if word.kind == "CHANGE" and word.experiment == self.experiment:
            later = word.generation > self.generation
            same = word.generation == self.generation and self.variant in word.rolled_back
            client.confirmed = later or same

    def live(self) -> dict[str, _Client]:
        """Clients heard within 15 s of log time, by id."""
        return {
            name: client
            for name, client in sorted(self._clients.items())
            if self.log_time_ms - client.heard_at_ms < LIVE_MS
        }

    def missing(self) -> list[str]:
        """Live clients that have not confirmed."""
        return [name for name, client in self.live().items() if not client.confirmed]


def run_rollback(
    settings: Settings, name: str, reason: str, actor: str, variant: str, to: str,
    seconds: float, output: Output,
) -> int:
    """Roll a variant back and wait for every live client; 0, or 4 naming who has not confirmed.

    Raises:
        DefinitionError: which variant is meant is not clear.
        Unreachable: the broker did not take the order.
    """
    require_topics(settings, "control", "applied", "routing")
    table = table_of(settings, name)
    chosen = _variant(table, variant, to)
    arguments = {"variant": chosen, **({"to": to} if to else {})}
    order = new_order(name, "ROLLBACK", actor, reason, arguments, generation=table.generation)
    began = time.monotonic()
    write_order(settings, order)
    confirmations = Confirmations(name, table.generation, chosen)
    _wait(settings, confirmations, began + seconds)
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


def _variant(table: Routing, variant: str, to: str) -> str:
    """The variant that is withdrawn: the one named, or the only candidate."""
    candidates = [item.name for item in table.variants if item.name != table.control]
    if not variant and len(candidates) == 1:
        return candidates[0]
    if variant in candidates and variant != to:
        return variant
    said = f"{variant} cannot be rolled back" if variant else "Which variant is meant is not clear"
    raise DefinitionError(
        f"{said}: {table.experiment} has the candidates {', '.join(candidates)}, and control"
        f" {table.control} is what one rolls back to. Nothing was changed. Write --variant"
        f" {candidates[0] if candidates else 'NAME'}, or `tidegate abort {table.experiment}` to"
        " let control serve everybody."
    )


def _wait(settings: Settings, confirmations: Confirmations, deadline: float) -> None:
    """Reads `applied` until no live client is missing, or the deadline has passed."""
    from tidegate.agents.commands.logs import experiment_partition

    partition = experiment_partition(settings, confirmations.experiment)
    consumer = new_consumer(settings)
    try:
        low, high = watermarks(settings, consumer, "applied", [partition])[partition]
    finally:
        consumer.close()
    with Tail(settings, ["applied"], {("applied", partition): high}) as tail:
        start = {partition: max(low, high - _WINDOW_RECORDS)}
        _take(confirmations, read_topic(settings, "applied", [partition], start, {partition: high}))
        while confirmations.missing() and time.monotonic() < deadline:
            records = tail.poll(_POLL_SECONDS)
            _take(confirmations, (item for item in records if item.partition == partition))


def _take(confirmations: Confirmations, records: Iterable[Record]) -> None:
    for record in records:
        confirmations.take(record)


def _sentence(facts: dict[str, Any], live: dict[str, _Client]) -> str:
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
