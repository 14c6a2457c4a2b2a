"""Commands of those who run experiments: lint, apply, get, watch, status, set, …, rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate.agents.commands.options import (
    ActorOption,
    NameArgument,
    Output,
    OutputOption,
    ReasonOption,
    RoleOption,
    TimeoutOption,
    declare,
    guarded,
    seconds_of,
)
from tidegate.agents.commands.teaching import add_command
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError

FileOption = Annotated[Path, typer.Option("--file", "-f", help="The manifest.")]
VariantOption = Annotated[
    str, typer.Option("--variant", help="Which candidate; needed when there are several.")
]


def _lint(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="The manifest.")] = None,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="Print the JSON Schema for editors.")
    ] = False,
    output: OutputOption = Output.table,
) -> None:
    """Check a manifest: every fault at once, with its remedy."""

    def run() -> int:
        from tidegate.agents.commands.lint import run_lint, run_schema

        if json_schema:
            return run_schema()
        if file is None:
            raise DefinitionError("No manifest is named. Write -f FILE.")
        return run_lint(file, output)

    raise typer.Exit(guarded(run))


def _apply(
    settings: Settings,
    file: FileOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what differs.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Open a new generation in any case.")
    ] = False,
    reason: ReasonOption = "",
    actor: ActorOption = "",
    role: RoleOption = "operator",
    timeout: TimeoutOption = "30s",
    output: OutputOption = Output.table,
) -> int:
    """Start or change an experiment, and wait for the answer."""
    from tidegate.agents.commands.apply import run_apply

    return run_apply(
        settings, file, dry_run, restart, reason, actor, role, seconds_of(timeout), output
    )


def _get(
    settings: Settings,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the experiment.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it.")] = False,
    output: OutputOption = Output.table,
) -> int:
    """Where an experiment stands; without NAME, all of them.

    With -w and -o json, one object a line whenever something has changed."""
    from tidegate.agents.commands.get import run_get, run_watch

    return (run_watch if watch else run_get)(settings, name, output)


def _watch(settings: Settings, name: NameArgument) -> int:
    """Live view of an experiment with its last decisions."""
    from tidegate.agents.commands.get import run_watch

    return run_watch(settings, name, Output.table)


def _set(
    settings: Settings,
    name: NameArgument,
    weights: Annotated[list[str], typer.Argument(metavar="VARIANT=SHARE...")],
    reason: ReasonOption = "",
    actor: ActorOption = "",
    role: RoleOption = "operator",
    timeout: TimeoutOption = "30s",
    output: OutputOption = Output.table,
) -> int:
    """Move a flag: `tidegate set new-search on=50%`.

    What is not named stays; control takes the rest."""
    from tidegate.agents.commands.people import run_order, shares

    return run_order(
        settings, name, "SET", shares(weights), reason, actor, role, seconds_of(timeout), output
    )


def _promote(
    settings: Settings,
    name: NameArgument,
    reason: ReasonOption,
    variant: VariantOption = "",
    step: Annotated[
        bool, typer.Option("--next", help="Only pass on to the next step, not to full.")
    ] = False,
    actor: ActorOption = "",
    role: RoleOption = "operator",
    timeout: TimeoutOption = "30s",
    output: OutputOption = Output.table,
) -> int:
    """Give a candidate everything, or pass on to the next step."""
    from tidegate.agents.commands.people import run_order

    arguments = {"to": "next" if step else "full", **({"variant": variant} if variant else {})}
    return run_order(
        settings, name, "PROMOTE", arguments, reason, actor, role, seconds_of(timeout), output
    )


def _approve(
    settings: Settings,
    name: NameArgument,
    reason: ReasonOption,
    actor: ActorOption = "",
    role: RoleOption = "operator",
    timeout: TimeoutOption = "30s",
    output: OutputOption = Output.table,
) -> int:
    """Approve the step that waits for it."""
    from tidegate.agents.commands.people import run_approve

    return run_approve(settings, name, reason, actor, role, seconds_of(timeout), output)


def _status(
    settings: Settings,
    name: NameArgument,
    step: Annotated[
        bool, typer.Option("--step", help="Only until the running step has ended.")
    ] = False,
    timeout: TimeoutOption = "60s",
    output: OutputOption = Output.table,
) -> int:
    """Wait for the end of the release; the exit code tells which."""
    from tidegate.agents.commands.status import run_status

    return run_status(settings, name, step, seconds_of(timeout), output)


def _rollback(
    settings: Settings,
    name: NameArgument,
    reason: ReasonOption,
    variant: VariantOption = "",
    to: Annotated[
        str, typer.Option("--to", help="Who takes over its share. [default: control]")
    ] = "",
    actor: ActorOption = "",
    role: RoleOption = "operator",
    timeout: TimeoutOption = "30s",
    output: OutputOption = Output.table,
) -> int:
    """Withdraw a variant; 0 when every live client has done it."""
    from tidegate.agents.commands.rollback import run_rollback

    return run_rollback(
        settings, name, reason, actor, role, variant, to, seconds_of(timeout), output
    )


def _layers_list(settings: Settings, output: OutputOption = Output.table) -> int:
    """What each layer has allotted to which experiment."""
    from tidegate.agents.commands.layers import run_list

    return run_list(settings, output)


def _layers_release(
    settings: Settings,
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="Name of the layer.")],
    name: NameArgument,
    reason: ReasonOption,
    actor: ActorOption = "",
    role: RoleOption = "operator",
    timeout: TimeoutOption = "30s",
    output: OutputOption = Output.table,
) -> int:
    """Give an experiment's slots back to its layer."""
    from tidegate.agents.commands.layers import run_release

    seconds = seconds_of(timeout)
    return run_release(settings, layer, name, reason, actor, role, seconds, output)


def _declare_order(app: typer.Typer, verb: str, what: str) -> None:
    """The orders that take nothing but a name."""

    def give(
        settings: Settings,
        name: NameArgument,
        reason: ReasonOption,
        actor: ActorOption = "",
        role: RoleOption = "operator",
        timeout: TimeoutOption = "30s",
        output: OutputOption = Output.table,
    ) -> int:
        from tidegate.agents.commands.people import run_order

        seconds = seconds_of(timeout)
        return run_order(
            settings, name, verb.upper(), {}, reason, actor, role, seconds, output
        )

    give.__doc__ = what
    declare(app, verb)(give)


def add_to(app: typer.Typer) -> None:
    """Registers the commands."""
    add_command(app, "lint", _lint)
    declare(app, "apply")(_apply)
    declare(app, "get")(_get)
    declare(app, "watch")(_watch)
    declare(app, "set")(_set)
    declare(app, "promote")(_promote)
    _declare_order(app, "pause", "Hold the release where it stands.")
    _declare_order(app, "resume", "Let a paused release go on.")
    _declare_order(app, "abort", "End the release; control serves everybody.")
    _declare_order(
        app, "retry", "Begin a paused step anew, or a release that ended badly once more."
    )
    declare(app, "approve")(_approve)
    declare(app, "status")(_status)
    declare(app, "rollback")(_rollback)
    layers = typer.Typer(help="Which units of a layer are whose.", no_args_is_help=True)
    declare(layers, "list", "layers")(_layers_list)
    declare(layers, "release", "layers")(_layers_release)
    app.add_typer(layers, name="layers")
