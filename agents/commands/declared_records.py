"""Commands of those who ask what happened: events, why, verify, dead-letters."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.agents.commands.options import NameArgument, Output, OutputOption, declare
from tidegate.agents.settings import Settings

_TIME = "2026-11-21T14:30 is local time, +00:00 behind it UTC; or milliseconds."
OffsetArgument = Annotated[int, typer.Argument(metavar="OFFSET", min=0)]


def _events(
    settings: Settings,
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
    last: Annotated[int, typer.Option("--last", min=0, help="How many of the past.")] = 50,
    output: OutputOption = Output.table,
) -> int:
    """Decisions as sentences, oldest first."""
    from tidegate.agents.commands.events import run_events

    return run_events(settings, name, follow, last, output)


def _why(
    settings: Settings,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID")],
    output: OutputOption = Output.table,
) -> int:
    """One request: who answered, why, and what came of it.

    Variant, versions, weights, decision, outcomes and window; or what is missing."""
    from tidegate.agents.commands.why import run_why

    return run_why(settings, request_id, output)


def _verify(
    settings: Settings,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this experiment.")] = "",
    since: Annotated[
        str,
        typer.Option("--from", metavar="TIME", help=f"Tell differences from then on. {_TIME}"),
    ] = "",
    until: Annotated[
        str, typer.Option("--to", metavar="TIME", help="Tell differences before then.")
    ] = "",
    output: OutputOption = Output.table,
) -> int:
    """Fold the recorded topics again; compare byte for byte."""
    from tidegate.agents.commands.verify import run_verify

    return run_verify(settings, name, since, until, output)


def _dead_list(
    settings: Settings,
    reason: Annotated[str, typer.Option("--reason", help="Only those with this reason.")] = "",
    last: Annotated[int, typer.Option("--last", min=0, help="How many.")] = 50,
    output: OutputOption = Output.table,
) -> int:
    """What could not be counted, oldest first."""
    from tidegate.agents.commands.dead_letters import run_list

    return run_list(settings, reason, last, output)


def _dead_show(
    settings: Settings, offset: OffsetArgument, output: OutputOption = Output.table
) -> int:
    """One dead letter with its bytes."""
    from tidegate.agents.commands.dead_letters import run_show

    return run_show(settings, offset, output)


def _dead_replay(
    settings: Settings,
    offsets: Annotated[list[int], typer.Argument(metavar="OFFSET...", min=0)],
    output: OutputOption = Output.table,
) -> int:
    """Write records again that can be read by now, as they were, where they were."""
    from tidegate.agents.commands.dead_letters import run_replay

    return run_replay(settings, offsets, output)


def add_to(app: typer.Typer) -> None:
    """Registers the commands."""
    declare(app, "events")(_events)
    declare(app, "why")(_why)
    declare(app, "verify")(_verify)
    dead = typer.Typer(help="Records that could not be counted.", no_args_is_help=True)
    declare(dead, "list", "dead-letters")(_dead_list)
    declare(dead, "show", "dead-letters")(_dead_show)
    declare(dead, "replay", "dead-letters")(_dead_replay)
    app.add_typer(dead, name="dead-letters")
