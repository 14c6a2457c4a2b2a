"""Facts on stdout: lines for people, JSON or YAML for programs; the keys are a contract."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from tidegate.agents.commands.options import Output
from tidegate.schemas.events import Decision

_DAY_SECONDS = 86_400


def print_facts(facts: Any, output: Output, lines: Callable[[Any], Iterable[str]]) -> None:
    """Print facts in the form that was asked for; `lines` says them to people."""
    if output is Output.json:
        print(json.dumps(facts, ensure_ascii=False, indent=2))
    elif output is Output.yaml:
        from ruamel.yaml import YAML

        writer = YAML(typ="safe", pure=True)
        writer.default_flow_style = False
        writer.allow_unicode = True
        writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        writer.dump(facts, sys.stdout)
    else:
        for line in lines(facts):
            print(line)


class Bar:
    """How much of something long is done, on stderr where that is a terminal; else nothing."""

    def __init__(self, said: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(file=sys.stderr)
        self._progress = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._task = self._progress.add_task(said, total=None)
        self._expected = 0

    def expect(self, count: int) -> None:
        """So much more is to be done."""
        self._expected += count
        self._progress.update(self._task, total=self._expected)

    def advance(self, count: int) -> None:
        """So much was done."""
        self._progress.advance(self._task, count)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()


def decision_facts(decision: Decision) -> dict[str, Any]:
    """A decision as JSON: the record's fields, its evidence as an object."""
    return {**decision.to_dict(), "evidence": json.loads(decision.evidence)}


def decision_line(decision: Decision) -> str:
    """A decision in one sentence, as on the page and in an alert."""
    what = f"{decision.action} {decision.variant}".rstrip()
    name = f"{decision.experiment}  g{decision.generation} v{decision.version}"
    return f"{clock(decision.decided_at)}  {name}  {what:20}  {decision.reason}"


def clock(time_ms: int) -> str:
    """Log time as local time of day, with the date when it is not today's.

    What came before the first tick of a log has no time.
    """
    if time_ms <= 0:
        return "--:--:--"
    moment = time.localtime(time_ms / 1_000)
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", moment)
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", moment)


def table_lines(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    """Rows under headings; `columns` maps keys to headings."""
    texts = [list(columns.values())]
    texts += [[str(row.get(key, "")) for key in columns] for row in rows]
    widths = [max(len(line[place]) for line in texts) for place in range(len(columns))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in texts
    ]
