"""Help: every command shows an example that works, and what its exit codes tell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tidegate.agents.commands.declared_operation import FoldingRole, Role
from tidegate.agents.commands.main import app
from tidegate.agents.commands.teaching import LESSONS
from tidegate.agents.roles import ALERTER, FOLDING_ROLES, ROLES

ROOT: Any = typer.main.get_command(app)


def commands(group: Any = ROOT, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """All commands there are, by their words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


def test_every_command_is_taught_and_nothing_else() -> None:
    """A new command comes with its lesson."""
    assert {name for name, _ in commands()} == set(LESSONS)


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_help_shows_an_example_that_can_be_typed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its words and options are those of the command; exit codes stand below it."""
    with pytest.raises(SystemExit) as caught:
        app([*name.split(), "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    example = LESSONS[name].example
    assert example in shown
    assert "Exit codes:" in shown
    assert " 0 " in shown
    words = shlex.split(example)
    count = 1 + len(name.split())
    assert words[:count] == ["tidegate", *name.split()]
    dict(commands())[name].make_context(name, words[count:])


def test_roles_offered_are_the_roles() -> None:
    """The command line names them without loading the agents."""
    assert set(Role) == {*ROLES, ALERTER}
    assert set(FoldingRole) == set(FOLDING_ROLES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["worker", "--role", "nonsense"], "'nonsense' is not one of"),
        (["get", "-o", "xml"], "'xml' is not one of"),
    ],
)
def test_wrong_values_are_complained_about_in_words(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was written and what may be, without the name of a Python error."""
    with pytest.raises(SystemExit) as caught:
        app(words)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Value error" not in err
