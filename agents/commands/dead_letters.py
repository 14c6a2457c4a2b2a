"""`tidegate dead-letters`: what could not be counted, why, and once more when it can be read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from tidegate.agents.bindings import recorded_bindings
from tidegate.agents.commands.logs import newest_first, require_topics
from tidegate.agents.commands.options import EXIT_DONE, EXIT_NO, Output
from tidegate.agents.commands.printing import clock, print_facts, table_lines
from tidegate.agents.kafka import Record, read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.writing import write_acknowledged
from tidegate.schemas.codec import decode, decode_as
from tidegate.schemas.errors import DefinitionError, EventError, UnknownSchemaId, Unreachable
from tidegate.schemas.events import DeadLetter
from tidegate.schemas.topics import TOPICS

_TOPIC = "dead-letters"
_COLUMNS = {
    "offset": "OFFSET", "time": "TIME", "reason": "REASON", "source": "FROM", "detail": "DETAIL"
}  # fmt: skip


def run_list(settings: Settings, reason: str, last: int, output: Output) -> int:
    """Print the last dead letters, oldest first."""
    require_topics(settings, _TOPIC)
    letters = _readable(newest_first(settings, _TOPIC, 0))
    wanted = (item for item in letters if not reason or item[1].reason == reason)
    rows = [_facts(offset, letter) for offset, letter in islice(wanted, last)][::-1]
    none = f"No dead letters with the reason {reason}." if reason else "No dead letters."
    print_facts(rows, output, lambda rows: _lines(rows) if rows else [none])
    return EXIT_DONE


def run_show(settings: Settings, offset: int, output: Output) -> int:
    """Print one dead letter with the bytes that were refused.

    Raises:
        DefinitionError: there is none at this offset.
    """
    require_topics(settings, _TOPIC)
    letter = _letter(settings, offset)
    facts = {**_facts(offset, letter), "engine": letter.engine, "value_hex": letter.value.hex()}
    told = {**facts, "log_time": clock(letter.log_time)}
    print_facts(facts, output, lambda _: [f"{key:14}{value}" for key, value in told.items()])
    return EXIT_DONE


def run_replay(settings: Settings, offsets: list[int], output: Output) -> int:
    """Write the refused records again, to the same partition, when they can be read by now.

    Exit code 1 when one of them cannot: it would only be refused again.

    Raises:
        DefinitionError: there is no such dead letter.
        Unreachable: the broker did not take a record.
    """
    require_topics(settings, _TOPIC)
    letters = [(offset, _letter(settings, offset)) for offset in offsets]
    rows = [_replay(settings, offset, letter) for offset, letter in letters]
    print_facts(rows, output, lambda rows: [f"{row['offset']}: {row['said']}" for row in rows])
    return EXIT_DONE if all(row["replayed"] for row in rows) else EXIT_NO


def _replay(settings: Settings, offset: int, letter: DeadLetter) -> dict[str, Any]:
    name = source_of(settings, letter)
    record = _original(settings, name, letter)
    if record is None:
        said = "the record is not in its topic any longer, so there is nothing to write again"
        return {"offset": offset, "replayed": False, "said": said}
    try:
        decode(str(TOPICS[name].schema), record.value, recorded_bindings(settings))
    except (EventError, UnknownSchemaId) as error:
        said = f"it would be refused again ({error}), so it was not written"
        return {"offset": offset, "replayed": False, "said": said}
    again = {
        "topic": settings.topic(name), "value": record.value, "key": record.key,
        "partition": record.partition, "timestamp": record.timestamp_ms,
        "headers": list(record.headers),
    }  # fmt: skip
    why = write_acknowledged(settings, [again])
    if why:
        raise Unreachable(
            f"Record {letter.offset} of {name} was not taken by {settings.bootstrap}"
            f" ({why}), so it still counts as refused. Check"
            " the broker with `tidegate doctor` and try again."
        )
    return {"offset": offset, "replayed": True, "said": f"written to {name} again"}


def source_of(settings: Settings, letter: DeadLetter) -> str:
    """Name without prefix of the topic a dead letter came from.

    Raises:
        DefinitionError: it is no topic of events.
    """
    name = letter.topic.removeprefix(settings.prefix)
    topic = TOPICS.get(name)
    if topic is None or topic.schema is None:
        raise DefinitionError(f"{letter.topic} is not a topic of events under {settings.prefix}.")
    return name


def _readable(records: Iterator[Record]) -> Iterator[tuple[int, DeadLetter]]:
    for record in records:
        try:
            yield record.offset, decode_as(DeadLetter, record.value, None)
        except EventError:
            continue


def _letter(settings: Settings, offset: int) -> DeadLetter:
    for record in read_topic(settings, _TOPIC, [0], {0: offset}, {0: offset + 1}):
        if record.offset == offset:
            return decode_as(DeadLetter, record.value, None)
    raise DefinitionError(
        f"There is no dead letter at offset {offset}. `tidegate dead-letters list` shows which"
        " there are; they are kept for 7 days."
    )


def _original(settings: Settings, name: str, letter: DeadLetter) -> Record | None:
    partition, offset = letter.partition, letter.offset
    records = read_topic(settings, name, [partition], {partition: offset}, {partition: offset + 1})
    return next((record for record in records if record.offset == offset), None)


def _facts(offset: int, letter: DeadLetter) -> dict[str, Any]:
    return {
        "offset": offset, "reason": letter.reason, "detail": letter.detail, "topic": letter.topic,
        "partition": letter.partition, "source_offset": letter.offset,
        "log_time": letter.log_time,
    }  # fmt: skip


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    shown = [
        {
            **row, "time": clock(row["log_time"]),
            "source": f"{row['topic']}-{row['partition']}@{row['source_offset']}",
        }
        for row in rows
    ]  # fmt: skip
    return table_lines(shown, _COLUMNS)
