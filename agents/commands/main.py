"""Every command there is, and where it is done. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from tidegate import __version__
from tidegate.agents.commands import declared_experiments, declared_operation, declared_records
from tidegate.agents.commands.options import EXIT_WRONG_USE

LATER: Mapping[str, str] = {
    "explain": "see `tidegate events NAME -o json` for all evidence",
    "export": "`tidegate events NAME -o json` prints decisions",
    "plan": "`tidegate apply -f F --dry-run` shows the difference",
    "report": "see `tidegate get NAME`",
    "what-if": "it is planned",
}
"""Commands that the interface knows and this version does not have."""


class _Group(typer.core.TyperGroup):
    """Says of a command of a later version that it is one."""

    def resolve_command(self, ctx: typer.Context, args: list[str]):  # type: ignore[no-untyped-def, override]
        name = args[0] if args else ""
        if name in LATER:
            typer.echo(f"`tidegate {name}` is not in this version: {LATER[name]}.", err=True)
            raise typer.Exit(EXIT_WRONG_USE)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Group,
    name="tidegate",
    help="Streaming experimentation and progressive delivery for ML models on Kafka.",
    epilog="`tidegate COMMAND --help` shows an example and what each exit code tells.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
declared_operation.add_to(app)
declared_experiments.add_to(app)
declared_records.add_to(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass
