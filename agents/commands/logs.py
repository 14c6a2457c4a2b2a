"""Logs as commands need them: newest first, bounded, decoded; and what stands now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from tidegate.agents.commands.printing import Bar
from tidegate.agents.kafka import (
    Record,
    new_admin,
    new_consumer,
    read_topic,
    unreachable,
    watermarks,
)
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.errors import DefinitionError, EventError
from tidegate.schemas.events import Command, Decision, Event, Routing
from tidegate.schemas.partitioner import partition_of

Kind = TypeVar("Kind", bound=Event)
View = Mapping[str, Any]

_FIRST_CHUNK_RECORDS = 250
_CHUNK_RECORDS_MAX = 32_000
_ANSWER_SECONDS = 5.0
VIEW_RECORDS_MAX = 40_000
"""How far back a published view is looked for; some minutes of commands."""


def require_topics(settings: Settings, *names: str) -> None:
    """Return when a broker answers and has the topics.

    Raises:
        Unreachable: no broker answers.
        DefinitionError: topics are missing; the message says what creates them.
    """
    from confluent_kafka import KafkaException

    try:
        found = new_admin(settings).list_topics(timeout=_ANSWER_SECONDS).topics
    except KafkaException as error:
        raise unreachable(settings, error) from error
    missing = [settings.topic(name) for name in names if settings.topic(name) not in found]
    if missing:
        raise DefinitionError(
            f"The broker at {settings.bootstrap} has no topic {', '.join(missing)}, so nothing can"
            " be read or asked there. Create the topics with `tidegate topics apply`, or check"
            " --bootstrap and --prefix."
        )


def experiment_partition(settings: Settings, experiment: str) -> int:
    """The partition of everything that is keyed by experiment."""
    return partition_of(experiment.encode(), settings.decision_partitions)


def newest_first(
    settings: Settings, name: str, partition: int, bar: Bar | None = None
) -> Iterator[Record]:
    """Records of a partition from the last to the first; marks and tombstones are passed over.

    `bar` shows how far it has come: a long log takes its time where nothing is found.
    """
    if bar is not None:
        low, high = bounds(settings, name, partition)
        bar.expect(high - low)
    for chunk in chunks_newest_first(settings, name, partition):
        if bar is not None:
            bar.advance(len(chunk))
        yield from (record for record in reversed(chunk) if record.value is not None)


def chunks_newest_first(
    settings: Settings, name: str, partition: int, end: int | None = None
) -> Iterator[list[Record]]:
    """A partition in chunks, the last first, each in order and twice as long as the one before.

    What one looks for is mostly near the end; `end` is the offset to stop before.
    """
    low, high = bounds(settings, name, partition)
    high = high if end is None else end
    size = _FIRST_CHUNK_RECORDS
    while high > low:
        start = max(low, high - size)
        yield list(read_topic(settings, name, [partition], {partition: start}, {partition: high}))
        high = start
        size = min(2 * size, _CHUNK_RECORDS_MAX)


def bounds(settings: Settings, name: str, partition: int) -> tuple[int, int]:
    """First offset kept and offset after the last of a partition."""
    consumer = new_consumer(settings)
    try:
        return watermarks(settings, consumer, name, [partition])[partition]
    finally:
        consumer.close()


def event_in(kind: type[Kind], record: Record) -> Kind | None:
    """The event in a record of an agent or a client; None for what cannot be read.

    They never write the ids of a registry, so nobody will ever bind one: a stray record that has
    one is unreadable like any other, nothing to wait for or to fail of.
    """
    try:
        return decode_as(kind, record.value, None)
    except EventError:
        return None


def decoded(kind: type[Kind], records: Iterator[Record]) -> Iterator[Kind]:
    """The events in records; what cannot be read is for others to complain about."""
    for record in records:
        event = event_in(kind, record)
        if event is not None:
            yield event


def tables(settings: Settings) -> dict[str, Routing]:
    """The newest routing table of every experiment, by name."""
    found: dict[str, Routing] = {}
    records = (record for record in read_topic(settings, "routing") if record.value is not None)
    for table in decoded(Routing, records):
        known = found.get(table.experiment)
        if known is None or (table.epoch, table.version) > (known.epoch, known.version):
            found[table.experiment] = table
    return dict(sorted(found.items()))


def table_of(settings: Settings, experiment: str) -> Routing:
    """The newest routing table of an experiment.

    Raises:
        DefinitionError: there is none; the message names those that exist.
    """
    found = tables(settings)
    if experiment not in found:
        known = ", ".join(found) or "none yet"
        raise DefinitionError(
            f"No experiment {experiment} has been decided on this broker (prefix"
            f" {settings.prefix}); known: {known}. Start it with `tidegate apply -f FILE`."
        )
    return found[experiment]


def require_experiment(settings: Settings, experiment: str) -> None:
    """Return when something was decided about an experiment.

    Raises:
        DefinitionError: nothing was; the message names the experiments there are.
    """
    if next(decisions_newest_first(settings, experiment), None) is None:
        table_of(settings, experiment)


def decisions_newest_first(settings: Settings, experiment: str) -> Iterator[Decision]:
    """Decisions of an experiment, each once, the last first."""
    seen: set[str] = set()
    records = newest_first(
        settings, "decisions", experiment_partition(settings, experiment)
    )
    for decision in decoded(Decision, records):
        if decision.experiment == experiment and decision.decision_id not in seen:
            seen.add(decision.decision_id)
            yield decision


def views(settings: Settings, wanted: Mapping[str, int]) -> dict[str, View]:
    """Published views by experiment; `wanted` maps experiments to their partitions.

    An experiment whose view is not among the last records has none: its decider is silent.
    """
    found: dict[str, View] = {}
    for partition in sorted(set(wanted.values())):
        left = {name for name, place in wanted.items() if place == partition}
        for number, record in enumerate(newest_first(settings, "commands", partition)):
            if not left or number >= VIEW_RECORDS_MAX:
                break
            name = (record.key or b"").decode(errors="replace")
            view = view_in(record) if name in left else None
            if view is not None:
                found[name] = view
                left.discard(name)
    return found


def view_in(record: Record) -> View | None:
    """The view in a STATUS command, or None."""
    command = event_in(Command, record)
    if command is None or command.kind != "STATUS":
        return None
    pieces = len(command.arguments)
    text = "".join(command.arguments.get(f"view.{number}", "") for number in range(pieces))
    try:
        view: View = json.loads(text)
    except ValueError:
        return None
    return view


def first_match(items: Iterator[Kind], matches: Callable[[Kind], bool]) -> Kind | None:
    """The first that matches, or None."""
    return next((item for item in items if matches(item)), None)
