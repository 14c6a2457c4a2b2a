"""Commands of those who run Tidegate: demo, up, worker, topics, schemas, mark, doctor."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from tidegate.agents.commands.options import (
    ActorOption,
    Output,
    OutputOption,
    ReasonOption,
    declare,
)
from tidegate.agents.settings import Settings

KafkaOption = Annotated[
    str,
    typer.Option(
        "--kafka",
        metavar="embedded|local|container|HOST:PORT",
        help="The broker: in this process, Apache Kafka here, the same in a container, or yours.",
    ),
]


class FoldingRole(StrEnum):
    """Roles that checkpoint: `agents.roles.FOLDING_ROLES`, which are heavy to import."""

    joiner = "joiner"
    decider = "decider"


class Role(StrEnum):
    """What a worker may be: `agents.roles.ROLES`, which are heavy to import."""

    ticker = "ticker"
    joiner = "joiner"
    decider = "decider"
    alerter = "alerter"


def _demo(settings: Settings, kafka: KafkaOption = "embedded") -> int:
    """The whole loop in one to two minutes: real models on real data; ends by itself."""
    from tidegate.agents.commands.demo import run_demo

    return run_demo(settings, kafka)


def _up(settings: Settings, kafka: KafkaOption = "embedded") -> int:
    """Broker, topics and all roles, for development."""
    from tidegate.agents.commands.up import run_up

    return run_up(settings, kafka)


def _worker(
    settings: Settings,
    role: Annotated[
        Role | None,
        typer.Option("--role", help="Only this one; all when not given (alerter: with `alerts`)."),
    ] = None,
) -> int:
    """Join, decide, tick until told to stop; start more to scale."""
    from tidegate.agents.commands.worker import run_worker

    return run_worker(settings, None if role is None else role.value)


def _ticker(settings: Settings) -> int:
    """Tick until told to stop, as `worker --role ticker`. Run two."""
    from tidegate.agents.commands.worker import run_ticker

    return run_ticker(settings)


def _topics_plan(settings: Settings, output: OutputOption = Output.table) -> int:
    """Say which topics `topics apply` would create or change.

    Nothing is changed."""
    from tidegate.agents.commands.topics import run_topics

    return run_topics(settings, "plan", output)


def _topics_apply(settings: Settings, output: OutputOption = Output.table) -> int:
    """Create what is missing and set what differs; nothing is ever deleted."""
    from tidegate.agents.commands.topics import run_topics

    return run_topics(settings, "apply", output)


def _topics_check(settings: Settings, output: OutputOption = Output.table) -> int:
    """Whether agents could start; exit code 1 and what mends it when not."""
    from tidegate.agents.commands.topics import run_topics

    return run_topics(settings, "check", output)


def _schemas_register(settings: Settings, output: OutputOption = Output.table) -> int:
    """Register the schemas of events under the subjects of their topics."""
    from tidegate.agents.commands.schemas import run_register

    return run_register(settings, output)


def _schemas_check(settings: Settings, output: OutputOption = Output.table) -> int:
    """Whether the registry knows what clients need; exit code 1 when not."""
    from tidegate.agents.commands.schemas import run_check

    return run_check(settings, output)


def _schemas_refuse(
    settings: Settings,
    schema_id: Annotated[int, typer.Argument(metavar="ID", help="Confluent schema id.")],
    output: OutputOption = Output.table,
) -> int:
    """Give up an id that no registry knows: its events become dead letters, for good.

    A partition waits for an unknown id, and says so in `/healthz`."""
    from tidegate.agents.commands.schemas import run_refuse

    return run_refuse(settings, schema_id, output)


def _mark_barrier(
    settings: Settings,
    role: Annotated[FoldingRole, typer.Option("--role", help="Whose workers.")],
    engine: Annotated[
        str, typer.Option("--engine", help="Who goes on. [default: this installation's engine]")
    ] = "",
    output: OutputOption = Output.table,
) -> int:
    """Upgrade: old workers checkpoint at the barrier and stop, new ones go on from there.

    Run it from the new installation."""
    from tidegate.agents.commands.mark import run_barrier

    return run_barrier(settings, role.value, engine, output)


def _mark_gap(
    settings: Settings,
    partition: Annotated[int, typer.Option("--partition", help="Partition of observations.")],
    source_partition: Annotated[
        int, typer.Option("--source-partition", help="Whose batches are missing.")
    ],
    sequence: Annotated[int, typer.Option("--sequence", help="The batch to go on at.")],
    reason: ReasonOption = "",
    actor: ActorOption = "",
    output: OutputOption = Output.table,
) -> int:
    """Accept that batches of facts are lost; the alert about the gap names the numbers."""
    from tidegate.agents.commands.mark import run_gap

    return run_gap(settings, partition, source_partition, sequence, reason, actor, output)


def _mark_skip(
    settings: Settings,
    topic: Annotated[str, typer.Option("--topic", help="A merged topic, without prefix.")],
    partition: Annotated[int, typer.Option("--partition", help="Its partition.")],
    begin: Annotated[int, typer.Option("--from", help="First offset that is missing.")],
    end: Annotated[int, typer.Option("--to", help="Offset to go on at.")],
    reason: ReasonOption = "",
    actor: ActorOption = "",
    output: OutputOption = Output.table,
) -> int:
    """Accept that records of a merged log are lost; the worker that refuses names the offsets.

    Refused while anything can be read there. It needs a reason, and cannot be taken back."""
    from tidegate.agents.commands.skipping import run_skip

    return run_skip(settings, topic, partition, begin, end, reason, actor, output)


def _doctor(settings: Settings, output: OutputOption = Output.table) -> int:
    """The settings in force, their origin, and whether they work."""
    from tidegate.agents.commands.doctor import run_doctor

    return run_doctor(settings, output)


def add_to(app: typer.Typer) -> None:
    """Registers the commands."""
    declare(app, "demo")(_demo)
    declare(app, "up")(_up)
    declare(app, "worker")(_worker)
    declare(app, "ticker")(_ticker)
    topics = typer.Typer(help="Topics: plan, apply, check.", no_args_is_help=True)
    declare(topics, "plan", "topics")(_topics_plan)
    declare(topics, "apply", "topics")(_topics_apply)
    declare(topics, "check", "topics")(_topics_check)
    app.add_typer(topics, name="topics", rich_help_panel=None)
    schemas = typer.Typer(help="Schema Registry: register, check, refuse.", no_args_is_help=True)
    declare(schemas, "register", "schemas")(_schemas_register)
    declare(schemas, "check", "schemas")(_schemas_check)
    declare(schemas, "refuse", "schemas")(_schemas_refuse)
    app.add_typer(schemas, name="schemas", rich_help_panel=None)
    mark = typer.Typer(help="Recorded breaks: barrier, gap, skip.", no_args_is_help=True)
    declare(mark, "barrier", "mark")(_mark_barrier)
    declare(mark, "gap", "mark")(_mark_gap)
    declare(mark, "skip", "mark")(_mark_skip)
    app.add_typer(mark, name="mark", rich_help_panel=None)
    declare(app, "doctor")(_doctor)
