"""Recorded breaks on the topic `breaks`: read by folds and audits, written on a person's word."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.writing import write_acknowledged
from tidegate.schemas.breaks import TOPIC, Break, decode_break
from tidegate.schemas.errors import DefinitionError, Unreachable


def recorded_breaks(settings: Settings) -> list[Break]:
    """All that was ever accepted as lost, in the order of acceptance; of each place the first.

    Raises:
        DefinitionError: the topic holds what is no break, or two that say different things.
        Unreachable: no broker answers.
    """
    return list(_read(settings))


def _read(settings: Settings) -> Iterator[Break]:
    known: dict[bytes, Break] = {}
    for record in read_topic(settings, TOPIC):
        found = decode_break(record.key, record.value)
        if found is None:
            raise DefinitionError(
                f"{record.topic} holds at offset {record.offset} what is no accepted break: "
                "somebody else has written there, and what is to be skipped cannot be told"
            )
        first = known.setdefault(found.key, found)
        if first is found:
            yield found
        elif (first.end, first.told) != (found.end, found.told):
            raise DefinitionError(
                f"{record.topic} holds at offset {record.offset} another break of "
                f"{found.key.decode()} than before: two people accepted different losses at once, "
                "and folds that read one or the other would differ"
            )


def write_break(settings: Settings, accepted: Break) -> None:
    """Put a break on the topic; returns once it is acknowledged.

    Raises:
        Unreachable: the broker did not take it.
    """
    record = {
        "topic": settings.topic(TOPIC), "key": accepted.key, "value": accepted.encode(),
        "partition": 0,
    }  # fmt: skip
    why = write_acknowledged(settings, [record])
    if why:
        raise Unreachable(
            f"{settings.topic(TOPIC)} at {settings.bootstrap} took no break ({why}). Accept it "
            "again: a second copy does no harm."
        )
