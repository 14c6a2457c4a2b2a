"""agents/transport/ on the embedded broker and on real Kafka."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.agents.transport.recording import RecordingFlow
from tests.agents.transport.workers import SECONDS, committed, produce, running, until
from tidegate.agents.settings import Settings
from tidegate.agents.transport import TopicPartition
from tidegate.infra.brokers import EmbeddedBroker
from tidegate.schemas.marks import Tick, tick_headers
from tidegate.streams.merge import Fetched, Merge

ROOT = Path(__file__).resolve().parents[3]
SYNC_GROUP, UNKNOWN_MEMBER_OR_INVALID = 14, 42


@pytest.fixture(params=["librdkafka", "aiokafka"])
def fetcher(request: pytest.FixtureRequest) -> str:
    """Both fetchers: what holds for one must hold for the other."""
    return str(request.param)


def merged(settings: Settings) -> list[str]:
    """The joiner's topics, in rank order."""
    return [settings.topic(name) for name in ("predictions", "shadow-predictions", "outcomes")]


def test_every_record_is_delivered_once_in_order(settings: Settings, fetcher: str) -> None:
    """Dense offsets, values, ticks and timestamps; commits reach the ends of the logs (H1)."""
    topics = merged(settings)
    for topic, count in zip(topics, (2_000, 300, 700), strict=True):
        produce(settings, topic, count)
    flow = RecordingFlow()

    async def test() -> None:
        chosen = replace(settings, fetcher=fetcher)
        async with running(chosen, topics, flow) as app:
            await until(lambda: flow.count() == 4 * 3_000)
            consumer = app.consumer._thread._consumer
            assert consumer._fetcher._fetch_max_wait_ms == 50  # H8
            assert consumer._fetcher._prefetch_backoff == 0

    asyncio.run(test())
    for topic, count in zip(topics, (2_000, 300, 700), strict=True):
        for partition in range(4):
            assert flow.offsets((topic, partition)) == list(range(count))
            assert committed(settings, app_group(settings), topic, partition) == count
    [first, *_] = flow.fed[topics[0], 1]
    assert first.marks == [(0, Tick(1_000))]
    assert first.values[:2] == [None, b"value 0"]
    assert first.timestamps(1) > 1_600_000_000_000
    assert flow.sampled


def app_group(settings: Settings) -> str:
    """The group of the joiner."""
    return f"{settings.prefix}joiner"


def test_a_worker_goes_on_where_its_flow_says(settings: Settings, fetcher: str) -> None:
    """Not at the committed offset, which is only for people."""
    topic = settings.topic("predictions")
    produce(settings, topic, 500)
    chosen = replace(settings, fetcher=fetcher)

    async def test(flow: RecordingFlow, expected: int) -> None:
        async with running(chosen, [topic], flow):
            await until(lambda: flow.count() >= expected)

    asyncio.run(test(RecordingFlow(), 2_000))
    starts = {(topic, 0): 100, (topic, 1): 499, (topic, 2): 0, (topic, 3): 500}
    flow = RecordingFlow(starts)
    asyncio.run(test(flow, 400 + 1 + 500))
    for place, start in starts.items():
        assert flow.offsets(place) == list(range(start, 500))


class MergingFlow(RecordingFlow):
    """A flow around real merges with a tiny buffer: takes only what it must."""

    def __init__(self, topics: list[str], cap: int) -> None:
        super().__init__()
        self.high_water, self.low_water = cap, 0
        self.ranks = {topic: rank for rank, topic in enumerate(topics)}
        self.merges: dict[int, Merge] = {}
        self.released: dict[int, list[tuple[int, int, int]]] = defaultdict(list)

    async def assign(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """A merge for each partition index, from the beginning."""
        for _, partition in partitions:
            self.merges.setdefault(partition, Merge([0] * len(self.ranks), [0] * len(self.ranks)))
        return {
            (topic, partition): self.merges[partition].fetch_offsets[self.ranks[topic]]
            for topic, partition in partitions
        }

    def want(self, topic: str, partition: int, in_flight: int) -> bool:
        """Below the cap."""
        return self.buffered(topic, partition) + in_flight < self.high_water

    def buffered(self, topic: str, partition: int) -> int:
        """What the merge holds."""
        return self.merges[partition].buffered(self.ranks[topic])

    def feed(self, topic: str, partition: int, fetched: Fetched) -> None:
        """Feed the merge and release all that may go."""
        merge = self.merges[partition]
        merge.feed(self.ranks[topic], fetched)
        while (head := merge.head()) is not None:
            rank, segment = head
            merge.release(rank, segment.stop - segment.start)
            self.released[partition].append((segment.log_time_ms, rank, segment.stop))


def produce_intervals(settings: Settings, counts: Mapping[str, int], intervals: int) -> None:
    """In every partition: `intervals` ticks, each followed by a topic's count of records."""
    producer = Producer({**settings.kafka, "linger.ms": 5})
    for partition in range(4):
        for topic, count in counts.items():
            for interval in range(1, intervals + 1):
                headers = tick_headers(interval * 1_000)
                producer.produce(topic, partition=partition, headers=headers)
                for _ in range(count):
                    producer.produce(topic, b"x", b"k", partition)
    assert producer.flush(SECONDS) == 0


def test_small_buffers_and_uneven_topics_do_not_deadlock(settings: Settings, fetcher: str) -> None:
    """H9: the topic everybody waits for has an empty buffer, and an empty buffer is wanted."""
    topics = merged(settings)
    counts = dict(zip(topics, (300, 0, 20), strict=True))
    produce_intervals(settings, counts, 10)
    flow = MergingFlow(topics, cap=5)

    async def test() -> None:
        async with running(replace(settings, fetcher=fetcher), topics, flow):
            await until(
                lambda: (
                    len(flow.merges) == 4
                    and all(merge.next_offsets[0] == 301 * 10 for merge in flow.merges.values())
                )
            )

    asyncio.run(test())
    for released in flow.released.values():
        keys = [(time_ms, rank) for time_ms, rank, _ in released]
        assert keys == sorted(keys)


@pytest.mark.kafka
def test_a_second_worker_takes_whole_partition_indexes(
    kafka_settings: Settings, fetcher: str
) -> None:
    """Co-located at every assignment; after the change nothing is lost and nothing comes twice.

    Not on the embedded broker: it refuses a member whose SyncGroup comes after the leader's.
    """
    settings = kafka_settings
    topics = merged(settings)
    chosen = replace(settings, fetcher=fetcher, session_timeout_seconds=6.0)
    first, second = RecordingFlow(), RecordingFlow()
    second.fed = first.fed  # both write into one log, and read on behind it

    async def test() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(running(chosen, topics, first))
            for topic in topics:
                produce(settings, topic, 100)
            await until(lambda: first.count() == 1_200)
            two = await stack.enter_async_context(running(chosen, topics, second))
            await until(lambda: bool(second.assigned and second.assigned[-1]))
            await until(lambda: len(first.assigned[-1]) + len(second.assigned[-1]) == 12)
            for topic in topics:
                produce(settings, topic, 100)
            await until(lambda: first.count() == 2_400)
            assert one.consumer.assignment().isdisjoint(two.consumer.assignment())

    asyncio.run(test())
    for flow in (first, second):
        for assigned in flow.assigned:
            of_topic = [{p for t, p in assigned if t == topic} for topic in topics]
            assert of_topic[0] == of_topic[1] == of_topic[2]
    for place in ((topic, partition) for topic in topics for partition in range(4)):
        assert first.offsets(place) == list(range(200))


def test_a_paused_partition_flows_again_after_a_rebalance(settings: Settings) -> None:
    """librdkafka keeps a pause across assign(); without a resumption the worker stalls silently."""
    topic = settings.topic("predictions")
    chosen = replace(settings, fetcher="librdkafka")
    flow = RecordingFlow()

    async def test() -> None:
        async with running(chosen, [topic], flow) as app:
            produce(settings, topic, 100)
            await until(lambda: flow.count() == 400)
            # Wanted, as an index is while another of its logs is waited for.
            flow.want = lambda *_: True  # type: ignore[method-assign]
            flow.held[topic, 2] = flow.high_water
            produce(settings, topic, 50)
            await until(lambda: app.consumer.counters.pauses == 1)
            await app.consumer.perform_seek()
            flow.held[topic, 2] = 0
            produce(settings, topic, 50)
            # Not by count: what was under way at the seek is read again, and folds trim that.
            places = [(topic, partition) for partition in range(4)]
            await until(lambda: all(flow.next_offset(place) == 200 for place in places))

    asyncio.run(test())
    assert list(dict.fromkeys(flow.offsets((topic, 2)))) == list(range(200))


def test_a_group_error_does_not_leave_a_zombie(
    embedded_broker: EmbeddedBroker, embedded_settings: Settings, fetcher: str
) -> None:
    """H7: after an error of SyncGroup aiokafka waits until somebody reads it; Faust never does."""
    topic = embedded_settings.topic("predictions")
    produce(embedded_settings, topic, 50)
    flow = RecordingFlow()

    async def test() -> None:
        embedded_broker.fail(SYNC_GROUP, [UNKNOWN_MEMBER_OR_INVALID])
        async with running(replace(embedded_settings, fetcher=fetcher), [topic], flow) as app:
            await until(lambda: flow.count() == 200)
            assert app.consumer.counters.coordination_errors >= 1

    asyncio.run(test())


def test_records_are_read_on_from_another_leader(fetcher: str, tmp_path: Path) -> None:
    """A partition whose leader moves goes on where it was, on the new one."""
    with EmbeddedBroker(nodes=3) as broker:
        settings = Settings(prefix="x.", fetcher=fetcher, state_dir=tmp_path).with_bootstrap(
            broker.bootstrap
        )
        topic = settings.topic("predictions")
        broker.create_topics({topic: 4})
        flow = RecordingFlow()

        async def test() -> None:
            async with running(settings, [topic], flow):
                for round_number, node in enumerate((1, 2, 3, 1)):
                    for partition in range(4):
                        broker.lead(topic, partition, node)
                    await asyncio.to_thread(produce, settings, topic, 100)
                    await until(
                        lambda done=round_number + 1: flow.count() == 400 * done  # type: ignore[misc]  # bound now
                    )

        asyncio.run(test())
        for partition in range(4):
            assert flow.offsets((topic, partition)) == list(range(400))


def worker_of(
    settings: Settings, fetcher: str, topic: str, healthy_records: int
) -> subprocess.CompletedProcess[str]:
    """A worker process of `topic`, ended by itself."""
    given = {
        "bootstrap": settings.bootstrap,
        "prefix": settings.prefix,
        "fetcher": fetcher,
        "state_dir": str(settings.state_dir),
    }
    module = "tests.agents.transport.worker_program"
    return subprocess.run(
        [sys.executable, "-m", module, json.dumps(given), topic, str(healthy_records)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS * 3,
        check=False,
    )


def test_a_failing_fold_ends_the_process_before_it_acknowledges(
    settings: Settings, fetcher: str
) -> None:
    """H3: exit code 70, and the group never says that the failed batch is done."""
    topic = settings.topic("predictions")
    produce(settings, topic, 5_000, partitions=1)
    ended = worker_of(settings, fetcher, topic, 1_000)
    assert ended.returncode == 70, ended.stderr
    assert "unforeseen" in ended.stderr
    assert committed(settings, app_group(settings), topic, 0) < 5_000


@pytest.mark.kafka
def test_a_transactional_producer_stops_the_worker(kafka_settings: Settings, fetcher: str) -> None:
    """The end of a transaction takes an offset and is no record: a hole, as compaction makes."""
    topic = kafka_settings.topic("predictions")
    producer = Producer({**kafka_settings.kafka, "transactional.id": "t"})
    producer.init_transactions(SECONDS)
    for _ in range(2):
        producer.begin_transaction()
        for _ in range(10):
            producer.produce(topic, b"value", partition=0)
        producer.commit_transaction(SECONDS)
    ended = worker_of(kafka_settings, fetcher, topic, 1_000)
    assert ended.returncode == 70, ended.stderr
    assert "hole: offset 10 comes next, but 11 was read" in ended.stderr
