"""How much of `control` a client must read when it starts: what no table tells yet.

The decider of a partition puts every rollback it has read into a table. Its heartbeats say up to
which log time it has read `control`; older rollbacks stand in the tables, so only what came after
matters. That is minutes of ticks instead of a year of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition

from tidegate.agents.kafka import read_topic, watermarks
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.errors import EventError, UnknownSchemaId
from tidegate.schemas.events import Command

WHOLE_RECORDS_MAX = 100_000
"""A partition with no more records is read whole: a second at most where fetches bring many."""
MARGIN_MS = 900_000
"""Log time may be ahead of record timestamps by as much as a fold tolerates (10 min), and a bit."""
_COMMANDS_READ = 300
_ANSWER_SECONDS = 5.0


def control_starts(consumer: Consumer, settings: Settings, partitions: int) -> dict[int, int]:
    """First offset to read, by partition of `control`.

    Raises:
        KafkaException: the broker does not tell.
        Unreachable: the broker was silent.
    """
    starts = dict.fromkeys(range(partitions), OFFSET_BEGINNING)
    ends = watermarks(settings, consumer, "control", list(starts))
    long = [each for each, (low, high) in ends.items() if high - low > WHOLE_RECORDS_MAX]
    if long:
        places = [
            TopicPartition(settings.topic("control"), partition, max(0, log_time_ms - MARGIN_MS))
            for partition, log_time_ms in _decided_until(consumer, settings, long).items()
        ]
        for place in consumer.offsets_for_times(places, timeout=_ANSWER_SECONDS) if places else ():
            # Nothing is that young: then nothing need be read.
            starts[place.partition] = place.offset if place.offset >= 0 else OFFSET_END
    return starts


def _decided_until(
    consumer: Consumer, settings: Settings, partitions: list[int]
) -> Mapping[int, int]:
    """The largest log time of the last heartbeats; partitions without any are left out."""
    ends = watermarks(settings, consumer, "commands", partitions)
    first = {each: max(low, high - _COMMANDS_READ) for each, (low, high) in ends.items()}
    found: dict[int, int] = {}
    for record in read_topic(settings, "commands", partitions, first):
        if record.value is None:
            continue
        try:
            command = decode_as(Command, record.value)
            if command.kind == "HEARTBEAT":
                # A log time ahead of the record that tells it would be a clock gone wrong.
                log_time_ms = min(int(command.arguments["log_time"]), record.timestamp_ms)
                found[record.partition] = max(found.get(record.partition, 0), log_time_ms)
        except (EventError, UnknownSchemaId, KeyError, ValueError):
            continue
    return found
