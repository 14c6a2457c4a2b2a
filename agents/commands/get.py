"""`tidegate get` and `watch`: where experiments stand, as the decider last told it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from tidegate.agents.commands.logs import (
    View,
    decisions_newest_first,
    event_in,
    experiment_partition,
    require_topics,
    table_of,
    tables,
    view_in,
    views,
)
from tidegate.agents.commands.options import Output
from tidegate.agents.commands.printing import (
    decision_facts,
    decision_line,
    print_facts,
    table_lines,
)
from tidegate.agents.kafka import Record, Tail
from tidegate.agents.settings import Settings
from tidegate.schemas.events import Decision, Routing
from tidegate.streams.wording import basis_points

if TYPE_CHECKING:
    from rich.console import Group

LAST_DECISIONS = 8
_REFRESH_SECONDS = 0.25
_ALL_SECONDS = 2.0
_COLUMNS = {
    "experiment": "NAME", "generation": "GEN", "version": "VERSION", "phase": "PHASE",
    "stage": "STEP", "shares": "WEIGHTS",
}  # fmt: skip


def run_get(settings: Settings, name: str, output: Output) -> int:
    """Print one experiment, or a line for each.

    Raises:
        DefinitionError: there is no such experiment.
        Unreachable: no broker answers.
    """
    require_topics(settings, "routing", "commands", "decisions")
    if not name:
        return _all(settings, output)
    facts = facts_of(settings, table_of(settings, name))
    if output is not Output.table:
        print_facts(facts, output, lambda _: [])
        return 0
    _console().print(*_lines(facts, time.time_ns() // 1_000_000), sep="\n", soft_wrap=True)
    return 0


def run_watch(settings: Settings, name: str, output: Output) -> int:
    """Show an experiment until stopped; without a name, the list of all, again and again.

    To programs it is one JSON object a line, whenever something has changed.

    Raises:
        DefinitionError: there is no such experiment.
        Unreachable: no broker answers.
    """
    from rich.live import Live

    require_topics(settings, "routing", "commands", "decisions")
    if not name:
        _watch_all(settings, output)
    facts = facts_of(settings, table_of(settings, name))
    if output is not Output.table:
        _print_changes(settings, name, facts)
    recent = list(islice(decisions_newest_first(settings, name), LAST_DECISIONS))[::-1]
    seen = {item.decision_id for item in recent}
    with (
        Tail(settings, ["commands", "decisions"]) as tail,
        Live(console=_console(), auto_refresh=False) as live,
    ):
        while True:
            live.update(_group(facts, recent), refresh=True)
            for record in tail.poll(_REFRESH_SECONDS):
                facts = _newer_view(record, name, facts, settings)
                decision = _decision_in(record, name, settings)
                if decision is not None and decision.decision_id not in seen:
                    seen.add(decision.decision_id)
                    recent = [*recent, decision][-LAST_DECISIONS:]


def _watch_all(settings: Settings, output: Output) -> NoReturn:
    said = ""
    while True:
        if output is Output.table:
            _all(settings, output)
            print()
        elif (line := json.dumps(_rows(settings), ensure_ascii=False)) != said:
            said = line
            print(line, flush=True)
        time.sleep(_ALL_SECONDS)


def _print_changes(settings: Settings, name: str, facts: dict[str, Any]) -> NoReturn:
    said = ""
    with Tail(settings, ["commands", "decisions", "routing"]) as tail:
        while True:
            if (line := json.dumps(facts, ensure_ascii=False)) != said:
                said = line
                print(line, flush=True)
            for record in tail.poll(_REFRESH_SECONDS):
                facts = _newer_table(record, name, facts, settings)
                facts = _newer_view(record, name, facts, settings)
                decision = _decision_in(record, name, settings)
                if decision is not None:
                    facts = {**facts, "decision": decision_facts(decision)}


def facts_of(settings: Settings, table: Routing) -> dict[str, Any]:
    """The published view of an experiment with its table and last decision.

    `view` is None when its decider has not been heard lately: then the table is all there is.
    """
    name = table.experiment
    view = views(settings, {name: experiment_partition(settings, name)}).get(name)
    last = next(decisions_newest_first(settings, name), None)
    return {
        "experiment": name,
        "view": view,
        "table": table.to_dict(),
        "weights": weights_of(table),
        "decision": None if last is None else decision_facts(last),
    }


def weights_of(table: Routing) -> dict[str, int]:
    """Shares of a routing table, basis points, by variant; control first."""
    weights = {table.control: 0} | {variant.name: 0 for variant in table.variants}
    for item in table.buckets:
        weights[item.variant] += item.end - item.start
    return weights


def _all(settings: Settings, output: Output) -> int:
    print_facts(_rows(settings), output, lambda rows: _list(rows, settings))
    return 0


def _rows(settings: Settings) -> list[dict[str, Any]]:
    found = tables(settings)
    published = views(settings, {name: experiment_partition(settings, name) for name in found})
    return [_row(table, published.get(name)) for name, table in found.items()]


def _row(table: Routing, view: View | None) -> dict[str, Any]:
    return {
        "experiment": table.experiment, "generation": table.generation, "epoch": table.epoch,
        "version": table.version, "phase": view["phase"] if view else None,
        "step": view["step"] if view else None, "strategy": view["strategy"] if view else None,
        "weights": weights_of(table), "rolled_back": list(table.rolled_back),
    }  # fmt: skip


def _list(rows: Sequence[dict[str, Any]], settings: Settings) -> list[str]:
    if not rows:
        return [
            f"No experiment on {settings.bootstrap} (prefix {settings.prefix}) yet. Start one with"
            " `tidegate apply -f FILE`."
        ]
    shown = [
        {
            **row, "phase": row["phase"] or "(decider silent)", "stage": row["strategy"] or "",
            "shares": ", ".join(
                f"{name} {basis_points(share)}" for name, share in row["weights"].items()
            ),
        }
        for row in rows
    ]  # fmt: skip
    return table_lines(shown, _COLUMNS)


def _lines(facts: dict[str, Any], now_ms: int) -> list[Any]:
    if facts["view"] is not None:
        from tidegate.agents.commands.screen import screen

        return list(screen(facts["view"], now_ms))
    table, weights = facts["table"], facts["weights"]
    shares = ", ".join(f"{name} {basis_points(share)}" for name, share in weights.items())
    return [
        f"{facts['experiment']}   g{table['generation']}   v{table['version']}   {shares}",
        "The decider has not been heard lately: clients go on with this table. Start it with"
        " `tidegate worker --role decider`, or look at `tidegate doctor`.",
    ]


def _group(facts: dict[str, Any], recent: Sequence[Decision]) -> Group:
    from rich.console import Group
    from rich.text import Text

    lines = _lines(facts, time.time_ns() // 1_000_000)
    return Group(*lines, "", *(Text(decision_line(item), overflow="fold") for item in recent))


def _newer_view(
    record: Record, name: str, facts: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    if record.topic != settings.topic("commands") or record.key != name.encode():
        return facts
    view = view_in(record)
    return facts if view is None else {**facts, "view": view}


def _newer_table(
    record: Record, name: str, facts: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    if record.topic != settings.topic("routing"):
        return facts
    table, known = event_in(Routing, record), facts["table"]
    if table is None or table.experiment != name:
        return facts
    if (table.epoch, table.version) <= (known["epoch"], known["version"]):
        return facts
    return {**facts, "table": table.to_dict(), "weights": weights_of(table)}


def _decision_in(record: Record, name: str, settings: Settings) -> Decision | None:
    if record.topic != settings.topic("decisions"):
        return None
    decision = event_in(Decision, record)
    return decision if decision is not None and decision.experiment == name else None


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, markup=False)
