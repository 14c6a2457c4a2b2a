"""The head of an observation, read without its facts: whose it is, and how far it has come."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.schemas import catalogue, limits
from tidegate.schemas.errors import EventError
from tidegate.schemas.structure import read_long


class ObservationHead(NamedTuple):
    """What an observation says before its facts; see `ObservationBatch`."""

    source_partition: int
    partition: int
    sequence: int
    engine: str
    log_time_ms: int


def observation_head(value: bytes) -> ObservationHead:
    """The head of an observation; its facts are not looked at, and may not be sound.

    Raises:
        EventError: it is not written with the newest schema, or ends too early.
    """
    head = catalogue.latest("observation").head
    if not value.startswith(head):
        raise EventError("schema", "not the newest schema of an observation")
    at = len(head)
    source, at = read_long(value, at)
    partition, at = read_long(value, at)
    sequence, at = read_long(value, at)
    size, at = read_long(value, at)
    if not 0 < size <= limits.NAME_BYTES_MAX:
        raise EventError("length", f"an engine of {size} bytes")
    log_time_ms, _ = read_long(value, at + size)
    if min(source, partition, sequence, log_time_ms) < 0:
        raise EventError("value", "a negative number in the head of an observation")
    engine = value[at : at + size].decode(errors="replace")
    return ObservationHead(source, partition, sequence, engine, log_time_ms)
