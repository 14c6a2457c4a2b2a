"""`tidegate mark skip`: a person accepts that a merged log has nothing at some offsets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import TopicPartition

from tidegate.agents.breaks import recorded_breaks, write_break
from tidegate.agents.commands.logs import bounds, require_topics
from tidegate.agents.commands.mark import write_marker
from tidegate.agents.commands.options import EXIT_DONE, Output, Refused
from tidegate.agents.commands.orders import user_name
from tidegate.agents.commands.printing import Bar, print_facts
from tidegate.agents.hosting.restore import restore
from tidegate.agents.hosting.snapshots import Manifest
from tidegate.agents.kafka import ANSWER_SECONDS_MAX, new_consumer, read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.breaks import TOPIC, Break, follow, gaps_of
from tidegate.schemas.errors import DefinitionError, EventError
from tidegate.schemas.marks import input_gap
from tidegate.schemas.observation_head import observation_head
from tidegate.schemas.topics import TOPICS, Topic

REASON_BYTES_MAX = 1_000
_CLOCKS_APART_MS = 600_000
"""How far the clocks of services and brokers may be from log time, generously."""


def run_skip(
    settings: Settings, name: str, partition: int, begin: int, end: int, reason: str, actor: str,
    output: Output,
) -> int:
    """Accept that a merged log has nothing from offset `begin` on and goes on at `end`.

    Raises:
        Refused: there is something at those offsets, or they are not where the fold waits.
        DefinitionError: topics, partitions or offsets are none, or the reason is missing.
        Unreachable: a broker does not answer or did not take it.
    """
    topic = _merged(settings, name, partition)
    reason = reason.strip()
    if not reason or len(reason.encode()) > REASON_BYTES_MAX:
        raise DefinitionError(
            f"a reason of at most {REASON_BYTES_MAX} bytes is needed (--reason): it stands in the"
            " log, and in every decision that the loss concerns"
        )
    require_topics(settings, TOPIC, name, "snapshots", "observations")
    known = recorded_breaks(settings)
    earlier = next((it for it in known if it.key == f"{name}/{partition}/{begin}".encode()), None)
    if earlier is not None and earlier.end != end:
        raise Refused(
            f"{name}-{partition} was accepted to go on at {earlier.end} behind {begin}"
            f" ({earlier.reason}, {earlier.actor}); accept what is missing from there on"
        )
    if earlier is None:
        told = _require_loss(settings, topic, partition, begin, end, known)
        accepted = Break(
            name, partition, begin, end, reason, actor or user_name(), _now_ms(), told
        )
        if topic.merge == "joiner":
            # Before the break: who has heard of a loss that is not accepted only tells it twice.
            every = range(settings.decision_partitions)
            marker = input_gap(accepted.marker().arguments)
            write_marker(settings, marker, [("observations", each) for each in every])
        write_break(settings, accepted)
    facts: dict[str, Any] = {
        "marker": "skip", "topic": name, "partition": partition, "from": begin, "to": end,
        "new": earlier is None,
    }  # fmt: skip
    done = "is accepted" if earlier is None else "had been accepted"
    said = (
        f"It {done} that {name}-{partition} has nothing at offsets {begin} to {end - 1}. Workers"
        f" of the role {topic.merge} go on at {end} when they are started again, and every epoch"
        " rises."
    )
    print_facts(facts, output, lambda facts: [said])
    return EXIT_DONE


def _merged(settings: Settings, name: str, partition: int) -> Topic:
    topic = TOPICS.get(name)
    if topic is None or topic.merge is None:
        known = ", ".join(topic.name for topic in TOPICS.values() if topic.merge)
        raise DefinitionError(f"{name!r} is no topic that is merged; those are {known}")
    count = settings.partition_count(topic)
    if not 0 <= partition < count:
        raise DefinitionError(f"there is no {name}-{partition}: they are 0 to {count - 1}")
    return topic


def _require_loss(
    settings: Settings, topic: Topic, partition: int, begin: int, end: int, known: list[Break]
) -> tuple[tuple[int, int], ...]:
    """Refuse what is not lost; what a joiner told of it already, if it did.

    The range must be all of what is missing, so that nobody can have gone on anywhere inside it.
    """
    low, high = bounds(settings, topic.name, partition)
    where = f"{topic.name}-{partition}"
    if not 0 <= begin < end <= high:
        raise DefinitionError(
            f"offsets {begin} to {end} are no part of {where}, which holds {low} to {high - 1}"
        )
    if begin >= low:
        _require_hole(settings, topic.name, partition, begin, end, low, high)
        return ()
    restored = restore(settings, str(topic.merge), partition, None)
    manifest = restored.manifest
    if manifest is None and restored.known:
        raise Refused(
            f"no checkpoint of partition {partition} of the {topic.merge} is whole, so where it"
            " would go on is not known, and a loss cannot be accepted"
        )
    if manifest is None:
        raise Refused(
            f"partition {partition} of the {topic.merge} has no checkpoint: its worker begins"
            f" where its logs do ({where} at {low}), and nothing needs to be accepted"
        )
    gaps = gaps_of(known, topic.name, partition)
    needed = follow(gaps, manifest.next_offsets[topic.rank])
    if needed >= low:
        raise Refused(
            f"nothing is lost of {where}: its checkpoint needs offset {needed}, and {low} to"
            f" {high - 1} are there"
        )
    if (begin, end) != (needed, low):
        raise Refused(
            f"what is lost of {where} is --from {needed} --to {low}: its checkpoint needs offset"
            f" {needed}, and the log begins at {low}"
        )
    return _told(settings, partition, manifest) if topic.merge == "joiner" else ()


def _require_hole(
    settings: Settings, name: str, partition: int, begin: int, end: int, low: int, high: int
) -> None:
    """Refuse a range that is not exactly what is missing between two records of a log."""
    where = f"{name}-{partition}"
    first = max(low, begin - 1)
    records = read_topic(settings, name, [partition], {partition: first})
    offsets = (record.offset for record in records)
    before = next(offsets, high)
    if begin > low and before != begin - 1:
        raise Refused(f"{where} misses records before offset {begin} too: begin there")
    found = before if begin == low else next(offsets, high)
    if found != end:
        raise Refused(
            f"{where} has a record at offset {begin}: nothing is lost there"
            if found == begin
            else f"behind offset {begin} of {where} the next record is at {found}, not at {end}"
        )


def _told(settings: Settings, partition: int, manifest: Manifest) -> tuple[tuple[int, int], ...]:
    """Log time and next number of what a joiner had put out, per observations partition.

    Whatever was told behind a checkpoint was written after its log time; copies may follow of
    batches that are older, so the last one written need not be the last one told.
    """
    since_ms = min(manifest.log_times_ms) - _CLOCKS_APART_MS
    told = []
    with Bar("looking what was told") as bar:
        for each in range(settings.decision_partitions):
            heads = [(0, 0)]
            for record in _written_since(settings, each, since_ms, bar):
                if record is None:
                    continue
                try:
                    source, _, sequence, _, log_time_ms = observation_head(record)
                except EventError:
                    continue
                if source == partition:
                    heads.append((log_time_ms, sequence + 1))
            told.append((max(time_ms for time_ms, _ in heads), max(number for _, number in heads)))
    return tuple(told)


def _written_since(
    settings: Settings, partition: int, since_ms: int, bar: Bar
) -> Iterator[bytes | None]:
    place = TopicPartition(settings.topic("observations"), partition, max(0, since_ms))
    consumer = new_consumer(settings)
    try:
        [found] = consumer.offsets_for_times([place], timeout=ANSWER_SECONDS_MAX)
    finally:
        consumer.close()
    if found.offset < 0:
        return
    bar.expect(bounds(settings, "observations", partition)[1] - found.offset)
    for record in read_topic(settings, "observations", [partition], {partition: found.offset}):
        bar.advance(1)
        yield record.value


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
