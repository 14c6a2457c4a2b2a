"""agents/transport/consumer.py, without a broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    OffsetOutOfRangeError,
    UnknownError,
)
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP

from tests.agents.transport.recording import RecordingFlow
from tests.agents.transport.stubs import (
    HERE,
    THERE,
    offsets,
    records,
    stub_consumer,
    take,
)
from tests.agents.transport.workers import Stopped


def test_a_message_is_a_fetch_and_has_the_offset_of_its_last_record(tmp_path: Path) -> None:
    """Faust commits and checks by a message's offset; streams skip one without generation."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow({HERE: 5}), tmp_path)
        thread.fetches.append({HERE: records(5, 4), THERE: records(0, 1)})
        delivered = dict(await take(consumer))
        assert set(delivered) == {HERE, THERE}
        message = delivered[HERE]
        assert (message.offset, message.generation_id) == (8, 1)
        assert message.value.first_offset == 5
        assert message.value.values == [b"v0", b"v1", b"v2", b"v3"]
        assert consumer.counters.records == 5

    asyncio.run(test())


def test_a_fetch_that_crossed_a_rebalance_is_dropped_and_read_again(tmp_path: Path) -> None:
    """H5: stamped with the new generation it would pass for a fetch made after the rebalance."""

    async def test() -> None:
        app, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches += [{HERE: records(0, 3)}, {HERE: records(3, 3)}, {HERE: records(0, 6)}]
        assert offsets(await take(consumer)) == [0, 1, 2]
        thread.on_fetch = lambda: setattr(app, "consumer_generation_id", 2)
        assert await take(consumer) == []
        assert consumer.counters.discarded == 1
        delivered = await take(consumer)
        assert thread.reads[-1] == ({HERE: 3}, True)
        assert offsets(delivered) == [3, 4, 5]
        assert delivered[0][1].generation_id == 2

    asyncio.run(test())


def test_nothing_is_delivered_while_the_flow_stands(tmp_path: Path) -> None:
    """H5: the flow stops at a revocation; what follows belongs to nobody yet."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches.append({HERE: records(0, 3), THERE: records(0, 3)})
        got = []
        async for tp, message in consumer.getmany(0.1):
            got.append((tp, message))
            consumer.stop_flow()
        assert len(got) == 1
        assert consumer.counters.discarded == 1

    asyncio.run(test())


def test_an_overlapping_fetch_is_trimmed(tmp_path: Path) -> None:
    """H6: Faust looks at a message's last offset only, and would process all of it again."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches += [{HERE: records(0, 5)}, {HERE: records(2, 6)}, {HERE: records(1, 3)}]
        assert offsets(await take(consumer, 3)) == list(range(8))
        assert consumer.counters.trimmed == 2

    asyncio.run(test())


@pytest.mark.parametrize("second", [6, 50])
def test_a_hole_in_the_log_stops_the_worker(tmp_path: Path, second: int) -> None:
    """Going on behind lost records would conclude something else than the log says."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches += [{HERE: records(0, 5)}, {HERE: records(second, 2)}]
        with pytest.raises(Stopped, match="hole: offset 5 comes next"):
            await take(consumer, 2)

    asyncio.run(test())


@pytest.mark.parametrize("end", [6, 50])
def test_a_hole_that_was_accepted_is_passed(tmp_path: Path, end: int) -> None:
    """Exactly that one: it may end anywhere, between fetches or inside one, and what is delivered
    can be committed behind it."""

    async def test() -> None:
        flow = RecordingFlow()
        flow.gaps["x.a", 0] = {5: end}
        _, consumer, thread = stub_consumer(flow, tmp_path)
        thread.fetches += [{HERE: records(0, 5) + records(end, 2)}, {HERE: records(end + 2, 1)}]
        assert offsets(await take(consumer, 3)) == [*range(5), *range(end, end + 3)]
        thread.fetches.append({HERE: records(end + 4, 1)})
        with pytest.raises(Stopped, match=f"hole: offset {end + 3} comes next"):
            await take(consumer)

    asyncio.run(test())


@pytest.mark.parametrize("error", [OffsetOutOfRangeError(), ValueError("unforeseen")])
def test_a_fetch_that_cannot_go_on_stops_the_worker(tmp_path: Path, error: Exception) -> None:
    """H19: Faust may log such an error and fetch no more; a supervisor can only help the dead."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches.append(error)
        with pytest.raises(Stopped, match="fetching failed"):
            await take(consumer)

    asyncio.run(test())


def test_a_group_error_told_to_a_fetch_is_counted_and_passes(tmp_path: Path) -> None:
    """H7: aiokafka tells waiting fetches what is wrong with the group; that mends itself."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches += [UnknownError(), {HERE: records(0, 2)}]
        assert offsets(await take(consumer, 2)) == [0, 1]
        assert consumer.counters.coordination_errors == 1

    asyncio.run(test())


def test_a_group_that_refuses_the_worker_stops_it(tmp_path: Path) -> None:
    """H7: missing permission does not mend itself."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches.append(GroupAuthorizationFailedError("x.joiner"))
        with pytest.raises(Stopped, match=r"refuse|fetching failed"):
            await take(consumer)

    asyncio.run(test())


def test_other_topics_pass_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """H11: Faust's own topics expect one message per record and Faust's bookkeeping."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        other = TP("replies", 0)
        thread.assigned.add(other)
        monkeypatch.setattr(
            Consumer, "seek_to_committed", lambda self: asyncio.sleep(0, {other: 3})
        )
        monkeypatch.setattr(consumer, "_to_message", lambda tp, record: record.value)
        consumer._set_active_tps(thread.assigned)
        thread.fetches.append({other: records(3, 2), HERE: records(0, 2)})
        delivered = await take(consumer)
        assert [value for tp, value in delivered if tp == other] == [b"v0", b"v1"]
        assert offsets(delivered) == [0, 1]
        consumer._committed_offset[other] = 3
        await consumer._add_gap(other, 5, 8)
        assert consumer._gap[other]
        consumer._acked[other] += [4, 9]
        assert consumer._new_offset(other) == 10

    asyncio.run(test())


def test_one_key_in_a_thousand_is_shown_to_the_flow(tmp_path: Path) -> None:
    """Another partitioner in a producer fails in silence: no outcome ever meets its prediction."""

    async def test() -> None:
        flow = RecordingFlow()
        _, consumer, thread = stub_consumer(flow, tmp_path)
        thread.fetches += [{HERE: records(first, 100)} for first in range(0, 2_500, 100)]
        await take(consumer, 25)
        assert flow.sampled == [("x.a", 0, b"k0")] * 3

    asyncio.run(test())
