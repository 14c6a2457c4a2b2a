"""Every case of `docs/attribution.md` on a real Apache Kafka, joined by a worker process."""

from __future__ import annotations

import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.agents.waiting import wait_for
from tests.integration.world import PATIENCE_SECONDS, World
from tests.streams.joining.judging import fates, faults
from tests.streams.joining.truth import TOPICS, Case, Layout, lay_out, read_cases
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import DeadLetter
from tidegate.schemas.facts import ObservationBatch
from tidegate.schemas.marks import Tick, tick_headers
from tidegate.schemas.observation_reading import decode_observation

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TWO_HOURS_MS = 7_200_000


def layouts(cases: list[Case], partitions: int) -> list[Layout]:
    """The cases over all partitions; each that silences a log has a partition for itself.

    They play in the past, by ticks of their own, so nobody waits for windows to pass.
    """
    begin_ms = (time.time_ns() // 1_000_000 - TWO_HOURS_MS) // 100_000 * 100_000
    silent = [case for case in cases if case.all("silent")]
    shared = partitions - len(silent)
    by_partition: dict[int, list[Case]] = defaultdict(list)
    for number, case in enumerate(cases):
        place = shared + silent.index(case) if case in silent else number % shared
        by_partition[place].append(case)
    return [
        lay_out(by_partition[partition], begin_ms, partition, partitions)
        for partition in range(partitions)
    ]


def send(settings: Settings, made: Layout) -> None:
    """The logs of one partition, ticks included."""
    producer = new_producer(settings)
    for stream, topic in enumerate(TOPICS):
        for record, stamp_ms in zip(made.logs[stream], made.stamps_ms[stream], strict=True):
            headers = tick_headers(record.log_time_ms) if isinstance(record, Tick) else None
            value = record if isinstance(record, bytes) else None
            producer.produce(
                settings.topic(topic), value, partition=made.partition, headers=headers,
                timestamp=stamp_ms,
            )  # fmt: skip
    assert producer.flush(30) == 0


def observations(settings: Settings) -> list[ObservationBatch]:
    """What readers count: each batch once, in the order of its source partition."""
    found = {
        (batch.source_partition, batch.partition, batch.sequence): batch
        for record in read_topic(settings, "observations")
        if record.value is not None
        for batch in [decode_observation(record.value)]
    }
    return [batch for _, batch in sorted(found.items())]


def told_until_ms(settings: Settings) -> int:
    """How far all source partitions are concluded, by what every observations partition tells."""
    ends: dict[tuple[int, int], int] = defaultdict(int)
    for batch in observations(settings):
        place = (batch.source_partition, batch.partition)
        ends[place] = max(ends[place], batch.log_time_ms)
    expected = settings.partitions * settings.decision_partitions
    return min(ends.values()) if len(ends) == expected else 0


def samples(world: World) -> Iterator[Sample]:
    """All metrics of the only worker whose log this is."""
    [line] = world.lines("health and metrics")
    with urllib.request.urlopen(f"{str(line['message']).split()[-1]}/metrics") as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        yield from family.samples


def scraped(world: World) -> dict[str, Counter[str]]:
    """`stream.class` by partition, as the joiner's metrics tell it; what is pending as well."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples(world):
        labels = sample.labels
        if sample.name in ("tidegate_counted_total", "tidegate_pending"):
            kind = labels.get("class", "pending")
            found[labels["partition"]][f"{labels['stream']}.{kind}"] += int(sample.value)
    return {partition: +counts for partition, counts in found.items()}


def test_every_case_of_the_page_on_kafka(kafka_settings: Settings, tmp_path: Path) -> None:
    """What the page says of each case is what readers of the topics find; and the worker's metrics
    tell, per partition, stream and class, exactly the records the page has."""
    cases = read_cases()
    made = layouts(cases, kafka_settings.partitions)
    end_ms = min(each.end_ms for each in made)
    for each in made:
        send(kafka_settings, each)
    with World(kafka_settings, tmp_path / "log") as world:
        world.start("joiner")
        wait_for(lambda: told_until_ms(kafka_settings) >= end_ms, PATIENCE_SECONDS)
        counted = scraped(world)
    batches = observations(kafka_settings)
    letters = [
        decode_as(DeadLetter, record.value)
        for record in read_topic(kafka_settings, "dead-letters")
        if record.value is not None
    ]
    found = {
        case.name: faults(case, each, batches, letters)
        for each in made
        for case in cases
        if case.name in each.sent
    }
    for each in made:
        there = [case for case in cases if case.name in each.sent]
        assert counted[str(each.partition)] == fates(there)
    assert len(found) == len(cases)
    assert {name: said for name, said in found.items() if said} == {}
