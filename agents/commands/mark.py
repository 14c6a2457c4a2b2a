"""`tidegate mark`: recorded breaks, written where folds meet them in order."""

from __future__ import annotations

from typing import Any

from tidegate.agents.commands.logs import require_topics
from tidegate.agents.commands.options import EXIT_DONE, Output
from tidegate.agents.commands.orders import user_name
from tidegate.agents.commands.printing import print_facts
from tidegate.agents.settings import Settings
from tidegate.agents.writing import write_acknowledged
from tidegate.schemas.errors import DefinitionError, Unreachable
from tidegate.schemas.marks import Marker, barrier, gap, marker_headers
from tidegate.schemas.topics import merged_topics

_ROLES = ("joiner", "decider")

Place = tuple[str, int]
"""Topic without prefix, partition."""


def run_barrier(settings: Settings, role: str, engine: str, output: Output) -> int:
    """Leave the merged topics of a role to `engine`, by default that of this installation.

    Raises:
        DefinitionError: there is no such role, or topics are missing.
        Unreachable: the broker did not take it.
    """
    from tidegate.agents.engine import fingerprint

    if role not in _ROLES:
        raise DefinitionError(f"{role!r} is no role with an engine; choose {' or '.join(_ROLES)}")
    named = engine or fingerprint(settings)
    places = [
        (topic.name, partition)
        for topic in merged_topics(role)
        for partition in range(settings.partition_count(topic))
    ]
    write_marker(settings, barrier(named), places)
    facts = {"marker": "barrier", "role": role, "engine": named, "places": len(places)}
    said = (
        f"The log is left to engine {named} from here on. Workers of the role {role} with another"
        " engine checkpoint and end with code 2 when they come to it; then start the new ones."
    )
    print_facts(facts, output, lambda facts: [said])
    return EXIT_DONE


def run_gap(
    settings: Settings, partition: int, source_partition: int, sequence: int, reason: str,
    actor: str, output: Output,
) -> int:
    """Accept that batches of a source partition below `sequence` never come.

    Raises:
        DefinitionError: there is no such partition, or topics are missing.
        Unreachable: the broker did not take it.
    """
    for what, number, count in (
        ("partition of observations", partition, settings.decision_partitions),
        ("source partition", source_partition, settings.partitions),
    ):
        if not 0 <= number < count:
            raise DefinitionError(f"there is no {what} {number}: they are 0 to {count - 1}")
    if sequence < 1:
        raise DefinitionError(f"the next batch is {sequence}; it must be above 0 to leave one out")
    marker = gap(source_partition, sequence, reason.strip(), actor or user_name())
    write_marker(settings, marker, [("observations", partition)])
    facts: dict[str, Any] = {
        "marker": "gap", "partition": partition, "source_partition": source_partition,
        "sequence": sequence,
    }  # fmt: skip
    said = (
        f"Decider {partition} goes on at batch {sequence} of source partition {source_partition};"
        " what was in the batches before it is lost to it, and every epoch rises."
    )
    print_facts(facts, output, lambda facts: [said])
    return EXIT_DONE


def write_marker(settings: Settings, marker: Marker, places: list[Place]) -> None:
    """Put a marker into every place.

    Raises:
        DefinitionError: topics are missing.
        Unreachable: it is not known to be everywhere.
    """
    require_topics(settings, *sorted({topic for topic, _ in places}))
    headers = marker_headers(marker)
    records = [
        {"topic": settings.topic(topic), "partition": partition, "headers": headers}
        for topic, partition in places
    ]
    why = write_acknowledged(settings, records)
    if why:
        raise Unreachable(
            f"The marker was not written everywhere at {settings.bootstrap}: {why}. Write it again:"
            " a second copy does no harm."
        )
