"""What `--help` teaches besides options: an example to paste, and what the exit code tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import typer

_WRONG_USE = "wrong use: the message says what to write"
_ANSWERED = {1: "the decider refuses", 4: "it did not answer in time; the order stands in the log"}


@dataclass(frozen=True, slots=True)
class Lesson:
    """An example, and the exit codes that mean more than in every command."""

    example: str
    exits: Mapping[int, str] = field(default_factory=dict)
    done: str = "done"
    asks: str = "broker"

    def epilog(self) -> str:
        """The end of a help page."""
        codes = {0: self.done, 2: _WRONG_USE, **self.exits}
        if self.asks:
            codes[3] = f"no {self.asks} answers"
        told = "\n".join(f"  {code:3} {meaning}" for code, meaning in sorted(codes.items()))
        # \b keeps the lines of a block apart.
        return f"\b\nExample:\n  {self.example}\n\n\b\nExit codes:\n{told}"


LESSONS: Mapping[str, Lesson] = {
    "demo": Lesson("tidegate demo --kafka local", {1: "not everything was seen"}),
    "up": Lesson("tidegate up --kafka local", done="stopped by Ctrl-C"),
    "worker": Lesson(
        "tidegate worker --role joiner --bootstrap kafka-1:9092",
        {70: "it could not go on; starting it again may help"},
        done="stopped when it was asked to",
    ),
    "ticker": Lesson("tidegate ticker", done="stopped when it was asked to"),
    "topics plan": Lesson("tidegate topics plan --prefix shop."),
    "topics apply": Lesson(
        "tidegate topics apply --bootstrap kafka-1:9092", {1: "something it cannot mend is left"}
    ),
    "topics check": Lesson("tidegate topics check", {1: "agents could not start"}),
    "schemas register": Lesson("tidegate schemas register --prefix shop.", asks="registry"),
    "schemas check": Lesson(
        "tidegate schemas check", {1: "a schema is not registered"}, asks="registry"
    ),
    "schemas refuse": Lesson("tidegate schemas refuse 4711"),
    "mark barrier": Lesson("tidegate mark barrier --role joiner"),
    "mark gap": Lesson("tidegate mark gap --partition 0 --source-partition 2 --sequence 118"),
    "mark skip": Lesson(
        "tidegate mark skip --topic outcomes --partition 2 --from 5120 --to 6000"
        ' --reason "retention was too short"',
        {1: "something is there, or the fold waits elsewhere: nothing was accepted"},
        done="the loss is accepted",
    ),
    "doctor": Lesson("tidegate doctor --bootstrap kafka-1:9092", {1: "something does not work"}),
    "lint": Lesson("tidegate lint -f click-ranker.yaml", done="the manifest is sound", asks=""),
    "apply": Lesson('tidegate apply -f click-ranker.yaml --reason "wider canary"', _ANSWERED),
    "get": Lesson("tidegate get click-ranker -o json"),
    "watch": Lesson("tidegate watch click-ranker", {130: "stopped by Ctrl-C"}),
    "set": Lesson("tidegate set new-search on=12.5%", _ANSWERED),
    "promote": Lesson('tidegate promote click-ranker --next --reason "seen enough"', _ANSWERED),
    "pause": Lesson('tidegate pause click-ranker --reason "holiday"', _ANSWERED),
    "resume": Lesson('tidegate resume click-ranker --reason "back at work"', _ANSWERED),
    "abort": Lesson('tidegate abort click-ranker --reason "wrong model"', _ANSWERED),
    "retry": Lesson('tidegate retry click-ranker --reason "model was reloaded"', _ANSWERED),
    "approve": Lesson(
        'tidegate approve click-ranker --role owner --reason "looked at it"', _ANSWERED
    ),
    "status": Lesson(
        "tidegate status click-ranker --step --timeout 2h",
        {1: "it ended badly, or cannot go on without a person", 4: "it has not ended in time"},
        done="the step was passed, or a candidate promoted",
    ),
    "rollback": Lesson(
        'tidegate rollback click-ranker --reason "complaints" --timeout 1m',
        {4: "some have not confirmed in time, and are named; the order stands"},
        done="every live client confirmed",
    ),
    "layers list": Lesson("tidegate layers list"),
    "layers release": Lesson(
        'tidegate layers release checkout click-ranker --reason "it has ended"', _ANSWERED
    ),
    "events": Lesson("tidegate events click-ranker --last 5"),
    "why": Lesson("tidegate why 01JD8Z6W4R", {1: "the log knows no such prediction"}),
    "verify": Lesson(
        "tidegate verify click-ranker --from 2026-11-21T14:30",
        {1: "something differs, or cannot be compared, or there is nothing"},
        done="every record follows from the logs",
    ),
    "dead-letters list": Lesson("tidegate dead-letters list --reason clock"),
    "dead-letters show": Lesson("tidegate dead-letters show 17"),
    "dead-letters replay": Lesson(
        "tidegate dead-letters replay 17 18", {1: "one would be refused again: it is left"}
    ),
}
"""By the words of a command."""


class TaughtCommand(typer.core.TyperCommand):
    """A command whose complaints are words for people."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As always, without the class of error that typer 0.29 puts before its message."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


def add_command(app: typer.Typer, name: str, function: Any, group: str = "") -> None:
    """Registers a command with its lesson; `group` is the word before its name."""
    lesson = LESSONS[f"{group} {name}".strip()]
    app.command(name, cls=TaughtCommand, epilog=lesson.epilog())(function)
