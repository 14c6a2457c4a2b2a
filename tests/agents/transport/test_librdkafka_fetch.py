"""agents/transport/librdkafka_fetch.py, with a client that answers from a list."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.transport.recording import RecordingFlow
from tests.agents.transport.stubs import HERE, THERE, StubThread, offsets, stub_consumer, take
from tests.agents.transport.test_fetched import LibrdkafkaMessage, Record
from tests.agents.transport.workers import Stopped
from tidegate.agents.transport import BatchConsumer, gathering, librdkafka_fetch


class Message(LibrdkafkaMessage):
    """A message that knows its topic-partition, or an error."""

    def __init__(self, tp: TP, record: Record, error: KafkaError | None = None) -> None:
        super().__init__(record)
        self.tp = tp
        self.fault = error

    def topic(self) -> str:
        """Topic."""
        return str(self.tp.topic)

    def partition(self) -> int:
        """Partition."""
        return int(self.tp.partition)

    def error(self) -> KafkaError | None:
        """What is wrong."""
        return self.fault


class StubClient:
    """Stands for confluent-kafka's consumer."""

    def __init__(self, *_: object, **__: object) -> None:
        self.calls: list[tuple[str, list[tuple[str, int, int]]]] = []
        self.queued: list[list[Message]] = []
        self.closed = False

    def _note(self, verb: str, partitions: list[Any]) -> None:
        self.calls.append((verb, sorted((p.topic, p.partition, p.offset) for p in partitions)))

    def assign(self, partitions: list[Any]) -> None:
        """Note an assignment."""
        self._note("assign", partitions)

    def pause(self, partitions: list[Any]) -> None:
        """Note a pause."""
        self._note("pause", partitions)

    def resume(self, partitions: list[Any]) -> None:
        """Note a resumption."""
        self._note("resume", partitions)

    def consume(self, _count: int, _seconds: float) -> list[Message]:
        """The next messages."""
        return self.queued.pop(0) if self.queued else []

    def close(self) -> None:
        """Note the end."""
        self.closed = True

    def verbs(self) -> list[str]:
        """What was asked, in order."""
        return [verb for verb, _ in self.calls]


@pytest.fixture(autouse=True)
def stub_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """No librdkafka in these tests, and nothing is held back for the next tick."""
    monkeypatch.setattr(confluent_kafka, "Consumer", StubClient)
    monkeypatch.setattr(gathering, "HOLD_SECONDS", 0.0)
    monkeypatch.setattr(librdkafka_fetch, "_IDLE_ROUNDS", 1)


def messages(tp: TP, first: int, count: int) -> list[Message]:
    """Dense records with values and keys."""
    return [Message(tp, Record(first + i, b"v%d" % i, key=b"k%d" % i)) for i in range(count)]


async def started(flow: RecordingFlow, path: Path) -> tuple[BatchConsumer, StubThread, StubClient]:
    """A hybrid consumer that has sought."""
    _, consumer, thread = stub_consumer(flow, path, "librdkafka")
    await consumer.perform_seek()
    return consumer, thread, consumer._readers._clients[0]


def test_aiokafka_fetches_nothing_that_librdkafka_fetches(tmp_path: Path) -> None:
    """Both would pull every record over the wire."""

    async def test() -> None:
        _, thread, client = await started(RecordingFlow({HERE: 3}), tmp_path)
        assert thread.reads == [({HERE: 3, THERE: 0}, False)]
        assert client.calls == [("assign", [("x.a", 0, 3), ("x.b", 0, 0)])]

    asyncio.run(test())


def test_mixed_messages_become_one_batch_a_topic_partition(tmp_path: Path) -> None:
    """librdkafka hands out what several fetches brought in one list."""

    async def test() -> None:
        consumer, _, client = await started(RecordingFlow(), tmp_path)
        client.queued.append(
            [
                *messages(HERE, 0, 2),
                *messages(THERE, 0, 3),
                *messages(HERE, 2, 2),
            ]
        )
        delivered = await take(consumer)
        assert len(delivered) == 2
        assert offsets(delivered, HERE) == [0, 1, 2, 3]
        assert offsets(delivered, THERE) == [0, 1, 2]

    asyncio.run(test())


PIECES = st.tuples(
    st.integers(0, 3), st.integers(1, 3) | st.integers(1, 40), st.sampled_from([0, 0, 1, 2])
)
"""Whose, how many, how many offsets are missing behind them."""


@given(st.lists(PIECES, max_size=20))
def test_messages_are_grouped_as_if_each_was_asked(pieces: list[tuple[int, int, int]]) -> None:
    """The same groups, however fetches are mixed and wherever offsets are missing."""
    places = [TP("x.a", 0), TP("x.a", 1), TP("x.b", 0), TP("x.b", 1)]
    following = dict.fromkeys(places, 7)
    listed: list[Message] = []
    expected: dict[TP, list[int]] = {}
    for index, count, missing in pieces:
        tp = places[index]
        listed += messages(tp, following[tp], count)
        expected.setdefault(tp, []).extend(range(following[tp], following[tp] + count))
        following[tp] += count + missing
    groups = librdkafka_fetch._group(listed)
    found = {tp: [message.offset() for message in several] for tp, several in groups.items()}
    assert found == expected
    assert list(found) == list(expected)


def test_a_hole_between_messages_is_not_bridged(tmp_path: Path) -> None:
    """Two runs of one topic-partition with a hole between them make no dense batch."""

    async def test() -> None:
        consumer, _, client = await started(RecordingFlow(), tmp_path)
        client.queued.append([*messages(HERE, 0, 3), *messages(THERE, 0, 1), *messages(HERE, 4, 2)])
        with pytest.raises(Stopped, match=r"hole: offset 3 comes next, but 4 was read of x\.a-0"):
            await take(consumer, 3)

    asyncio.run(test())


def test_nobody_stands_in_for_a_missing_offset(tmp_path: Path) -> None:
    """A record of another topic in just the place of a hole stays its own topic's, and the hole
    one: taken for what is missing it would be joined as what it is not."""

    async def test() -> None:
        consumer, _, client = await started(RecordingFlow(), tmp_path)
        client.queued.append([*messages(HERE, 0, 1), *messages(THERE, 0, 1), *messages(HERE, 2, 2)])
        with pytest.raises(Stopped, match=r"hole: offset 1 comes next, but 2 was read of x\.a-0"):
            await take(consumer, 3)

    asyncio.run(test())


def test_a_partition_is_paused_when_full_and_resumed_when_nearly_empty(tmp_path: Path) -> None:
    """A pause throws away what was fetched ahead, so the two marks lie well apart."""

    async def test() -> None:
        flow = RecordingFlow()
        consumer, _, client = await started(flow, tmp_path)
        for offset, held, verbs in (
            (0, flow.high_water - 2, []),
            (1, flow.high_water - 1, ["pause"]),
            (2, flow.low_water + 1, ["pause"]),
            (2, flow.low_water, ["pause", "resume"]),
        ):
            flow.held[HERE] = held
            client.queued.append(messages(HERE, offset, 1))
            for _, message in await take(consumer):
                await take(consumer)
                consumer.ack(message)
            assert client.verbs()[1:] == verbs
        assert consumer.counters.pauses == 1

    asyncio.run(test())


def test_what_is_in_the_agents_queue_counts_as_held(tmp_path: Path) -> None:
    """The host knows only of what it was fed."""

    async def test() -> None:
        flow = RecordingFlow()
        flow.high_water, flow.low_water = 3, 1
        consumer, _, client = await started(flow, tmp_path)
        client.queued.append(messages(HERE, 0, 3))
        [(_, message)] = await take(consumer)
        await take(consumer)
        assert client.verbs()[-1] == "pause"
        consumer.ack(message)
        await take(consumer)
        assert client.verbs()[-1] == "resume"

    asyncio.run(test())


def test_a_paused_partition_is_resumed_before_it_is_assigned_again(tmp_path: Path) -> None:
    """librdkafka keeps a pause across assign(): a partition that stays would stand for ever."""

    async def test() -> None:
        flow = RecordingFlow()
        consumer, _, client = await started(flow, tmp_path)
        flow.held[HERE] = flow.high_water
        client.queued.append(messages(HERE, 0, 1))
        await take(consumer, 2)
        await consumer.perform_seek()
        assert client.verbs() == ["assign", "pause", "resume", "assign"]
        flow.held[HERE] = 0
        await take(consumer)
        assert client.verbs() == ["assign", "pause", "resume", "assign"]

    asyncio.run(test())


def test_idle_rounds_end_when_something_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many polls to one round through Faust; none of them behind a rebalance."""
    monkeypatch.setattr(librdkafka_fetch, "_IDLE_ROUNDS", 50)

    async def test() -> None:
        consumer, _, client = await started(RecordingFlow(), tmp_path)
        client.queued += [[], [], messages(HERE, 0, 2), messages(HERE, 2, 1)]
        assert offsets(await take(consumer)) == [0, 1]
        assert offsets(await take(consumer)) == [2]
        idle = asyncio.create_task(take(consumer))
        await asyncio.sleep(0.02)
        consumer.stop_flow()
        client.queued.append(messages(HERE, 3, 1))
        assert await idle == []
        assert len(client.queued) == 1

    asyncio.run(test())


def test_nothing_is_taken_from_librdkafka_while_the_host_wants_nothing(tmp_path: Path) -> None:
    """As when outputs pile up: input waits where it is instead of being thrown away."""

    async def test() -> None:
        flow = RecordingFlow()
        consumer, _, client = await started(flow, tmp_path)
        client.queued.append(messages(HERE, 0, 2))
        flow.want = lambda *_: False  # type: ignore[method-assign]  # a host that is busy
        assert await take(consumer) == []
        assert len(client.queued) == 1

    asyncio.run(test())


def test_records_of_an_earlier_assignment_are_not_delivered(tmp_path: Path) -> None:
    """Between a revocation and the seek librdkafka still has the old partitions."""

    async def test() -> None:
        consumer, thread, client = await started(RecordingFlow(), tmp_path)
        client.queued.append(messages(HERE, 0, 2))
        consumer._seek_due = True
        thread.assigned = set()
        assert await take(consumer) == []
        assert len(client.queued) == 1

    asyncio.run(test())


def test_records_held_for_their_tick_count_as_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a partition would be fetched beyond its cap while it waits; after a seek none are."""
    monkeypatch.setattr(gathering, "HOLD_SECONDS", 60.0)

    async def test() -> None:
        flow = RecordingFlow()
        flow.high_water = 3
        consumer, _, client = await started(flow, tmp_path)
        client.queued.append(messages(HERE, 0, 3))
        assert await take(consumer, 2) == []
        assert client.verbs()[-1] == "pause"
        await consumer.perform_seek()
        client.queued.append([*messages(HERE, 0, 2), Message(HERE, Record(2, None))])
        assert offsets(await take(consumer)) == [0, 1, 2]

    asyncio.run(test())


def test_passing_faults_are_left_to_librdkafka(tmp_path: Path) -> None:
    """It goes on trying by itself while a broker is away."""

    async def test() -> None:
        consumer, _, client = await started(RecordingFlow(), tmp_path)
        away = Message(HERE, Record(0, None), KafkaError(KafkaError._TRANSPORT))
        client.queued.append([away, *messages(HERE, 0, 1)])
        assert offsets(await take(consumer)) == [0]

    asyncio.run(test())


def test_lost_records_stop_the_worker(tmp_path: Path) -> None:
    """`auto.offset.reset=error`: what retention took is never passed over."""

    async def test() -> None:
        consumer, _, client = await started(RecordingFlow(), tmp_path)
        lost = KafkaError(KafkaError._AUTO_OFFSET_RESET)
        client.queued.append([Message(HERE, Record(0, None), lost)])
        with pytest.raises(Stopped, match="fetching failed"):
            await take(consumer)

    asyncio.run(test())
