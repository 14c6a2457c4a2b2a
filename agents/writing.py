"""A few records written at once and acknowledged before anything else is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings

ANSWER_SECONDS = 10.0


def write_acknowledged(
    settings: Settings, records: Iterable[Mapping[str, Any]], seconds: float = ANSWER_SECONDS
) -> str:
    """Write records, each the arguments of `Producer.produce`; empty when the broker has them all.

    Otherwise why one is not known to be there.
    """
    refusals: list[str] = []

    def delivered(error: object, message: object) -> None:
        if error is not None:
            refusals.append(str(error))

    producer = new_producer(settings, {"linger.ms": 0})
    for record in records:
        producer.produce(**record, on_delivery=delivered)
    unanswered = producer.flush(seconds)
    if refusals:
        return refusals[0]
    return f"no answer within {seconds:g} s" if unanswered else ""
