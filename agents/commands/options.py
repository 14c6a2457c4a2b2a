"""What all commands share: options, settings, and how errors become exit codes."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.agents.commands.teaching import add_command
from tidegate.agents.settings import Settings, load_settings
from tidegate.schemas.errors import DefinitionError, TidegateError, Unreachable

EXIT_DONE = 0
EXIT_NO = 1
EXIT_WRONG_USE = 2
EXIT_UNREACHABLE = 3
EXIT_TIME_RAN_OUT = 4
EXIT_INTERRUPTED = 130


class Output(StrEnum):
    """How facts are printed."""

    table = "table"
    json = "json"
    yaml = "yaml"


class TimeRanOut(TidegateError):
    """What was waited for did not happen in time; the message names who or what is missing."""


class Refused(TidegateError):
    """The answer is no; the message says why."""


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Settings file. [default: tidegate.yaml]"
    ),
]
BootstrapOption = Annotated[
    str | None,
    typer.Option("--bootstrap", "-b", metavar="HOST:PORT,...", help="Kafka brokers."),
]
PrefixOption = Annotated[
    str | None, typer.Option("--prefix", metavar="TEXT", help="Prefix of topic names.")
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the experiment.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is logged.")]
ActorOption = Annotated[
    str,
    typer.Option("--actor", metavar="TEXT", help="Who; it is logged. [default: the user's name]"),
]
RoleOption = Annotated[
    str,
    typer.Option("--role", metavar="TEXT", help="In which role; the manifest may ask for one."),
]
TimeoutOption = Annotated[
    str,
    typer.Option("--timeout", metavar="DURATION", help="How long to wait: 500ms, 30s or 2m."),
]

_SHARED: dict[str, Any] = {
    "config": ConfigOption, "bootstrap": BootstrapOption, "prefix": PrefixOption
}  # fmt: skip


def declare(app: typer.Typer, name: str, group: str = "") -> Callable[..., Any]:
    """Registers a function `(settings, …) -> exit code` as a command of `app`, in a `group` or not.

    `settings` is read from file, environment and the shared options; errors raised on purpose
    become a paragraph on stderr and an exit code.
    """

    def register(function: Callable[..., int]) -> Callable[..., int]:
        signature = inspect.signature(function, eval_str=True)
        own = [item for item in signature.parameters.values() if item.name != "settings"]
        shared = [
            inspect.Parameter(word, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for word, kind in _SHARED.items()
        ]

        def called(**given: Any) -> None:
            chosen = {word: given.pop(word) for word in _SHARED}
            raise typer.Exit(guarded(lambda: function(settings_from(**chosen), **given)))

        called.__doc__ = function.__doc__
        called.__name__ = function.__name__
        keyword = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in own]
        called.__signature__ = inspect.Signature([*keyword, *shared])  # type: ignore[attr-defined]
        called.__annotations__ = {item.name: item.annotation for item in [*keyword, *shared]}
        add_command(app, name, called, group)
        return function

    return register


def settings_from(config: Path | None, bootstrap: str | None, prefix: str | None) -> Settings:
    """Settings with the command line's word on top."""
    overrides: dict[str, Any] = {}
    if bootstrap is not None:
        overrides["kafka"] = {"bootstrap.servers": bootstrap}
    if prefix is not None:
        overrides["prefix"] = prefix
    return load_settings(config, overrides=overrides)


def guarded(run: Callable[[], int]) -> int:
    """The exit code of a command, whatever it raised on purpose; the rest is a bug and shows."""
    try:
        code = run()
        sys.stdout.flush()
    except TidegateError as error:
        complain(error)
        return _exit_code(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has seen enough; a second complaint at exit would follow otherwise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    return code


def _exit_code(error: TidegateError) -> int:
    """Exit code of a command for an error: whose fault it is."""
    codes = {
        DefinitionError: EXIT_WRONG_USE,
        Unreachable: EXIT_UNREACHABLE,
        TimeRanOut: EXIT_TIME_RAN_OUT,
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), EXIT_NO)


def complain(error: TidegateError) -> None:
    """What happened, what it means, what to do: one paragraph on stderr, faults below it."""
    sys.stdout.flush()
    faults = error.faults if isinstance(error, DefinitionError) else ()
    for line in (str(error), *faults):
        print(line, file=sys.stderr)


def seconds_of(timeout: str) -> float:
    """A duration option in seconds.

    Raises:
        DefinitionError: it is not a duration.
    """
    from tidegate.schemas.manifest.notation import parse_duration_ms

    try:
        return parse_duration_ms(timeout) / 1_000
    except ValueError as error:
        raise DefinitionError(str(error)) from error
