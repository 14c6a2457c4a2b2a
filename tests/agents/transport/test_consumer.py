"""agents/transport/consumer.py, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

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


def run(test: Coroutine[Any, Any, None]) -> None:
    """A test's coroutine, in a loop of its own."""
    asyncio.run(test)


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

    run(test())


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

    run(test())


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

    run(test())


def test_an_overlapping_fetch_is_trimmed(tmp_path: Path) -> None:
    """H6: Faust looks at a message's last offset only, and would process all of it again."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches += [{HERE: records(0, 5)}, {HERE: records(2, 6)}, {HERE: records(1, 3)}]
        assert offsets(await take(consumer, 3)) == list(range(8))
        assert consumer.counters.trimmed == 2

    run(test())


@pytest.mark.parametrize("second", [6, 50])
def test_a_hole_in_the_log_stops_the_worker(tmp_path: Path, second: int) -> None:
    """Going on behind lost records would conclude something else than the log says."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches += [{HERE: records(0, 5)}, {HERE: records(second, 2)}]
        with pytest.raises(Stopped, match="hole: offset 5 comes next"):
            await take(consumer, 2)

    run(test())


@pytest.mark.parametrize("error", [OffsetOutOfRangeError(), ValueError("unforeseen")])
def test_a_fetch_that_cannot_go_on_stops_the_worker(tmp_path: Path, error: Exception) -> None:
    """H19: Faust may log such an error and fetch no more; a supervisor can only help the dead."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches.append(error)
        with pytest.raises(Stopped, match="fetching failed"):
            await take(consumer)

    run(test())


def test_a_group_error_told_to_a_fetch_is_counted_and_passes(tmp_path: Path) -> None:
    """H7: aiokafka tells waiting fetches what is wrong with the group; that mends itself."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches += [UnknownError(), {HERE: records(0, 2)}]
        assert offsets(await take(consumer, 2)) == [0, 1]
        assert consumer.counters.coordination_errors == 1

    run(test())


def test_a_group_that_refuses_the_worker_stops_it(tmp_path: Path) -> None:
    """H7: missing permission does not mend itself."""

    async def test() -> None:
        _, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches.append(GroupAuthorizationFailedError("x.joiner"))
        with pytest.raises(Stopped, match=r"refuse|fetching failed"):
            await take(consumer)

    run(test())


def test_offsets_are_committed_before_a_revocation_forgets_them(tmp_path: Path) -> None:
    """H4: Faust forgets what was acknowledged first, then waits for it to be committed."""

    async def test() -> None:
        app, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        thread.fetches.append({HERE: records(0, 5)})
        [(_, message)] = await take(consumer)
        consumer.ack(message)

        async def after(revoked: set[TP]) -> None:
            assert thread.commits == [{HERE: 5}]

        app.producer.flush = lambda: asyncio.sleep(0)
        consumer._on_partitions_revoked = after
        await consumer.on_partitions_revoked({HERE, THERE})
        assert thread.commits == [{HERE: 5}]
        assert consumer._deliveries == {}

    run(test())


def test_commits_cover_all_finished_batches_and_no_unfinished_one(tmp_path: Path) -> None:
    """H1, H2, in Faust's own commit."""

    async def test() -> None:
        app, consumer, thread = stub_consumer(RecordingFlow(), tmp_path)
        app.producer.flush = lambda: asyncio.sleep(0)
        thread.fetches += [{HERE: records(first, 10)} for first in (0, 10, 20, 30)]
        messages = [message for _, message in await take(consumer, 4)]
        for index in (0, 1, 3):
            assert consumer.ack(messages[index])
        await consumer.commit()
        assert thread.commits == [{HERE: 20}]
        consumer.ack(messages[2])
        await consumer.commit()
        assert thread.commits[-1] == {HERE: 40}
        assert not consumer._gap[HERE]
        assert not consumer._acked[HERE]

    run(test())


def test_batches_are_no_gaps(tmp_path: Path) -> None:
    """H1: to Faust a batch is a gap of as many offsets as it has records."""

    async def test() -> None:
        _, consumer, _ = stub_consumer(RecordingFlow(), tmp_path)
        await consumer._add_gap(HERE, 1, 5_000)
        assert not consumer._gap[HERE]

    run(test())


def test_reading_starts_where_the_flow_says(tmp_path: Path) -> None:
    """H18: committed offsets are not asked for, they only serve to watch the lag."""

    async def test() -> None:
        flow = RecordingFlow({HERE: 7, THERE: 9})
        _, consumer, thread = stub_consumer(flow, tmp_path)
        await consumer.perform_seek()
        assert flow.assigned == [{HERE, THERE}]
        assert thread.reads == [({HERE: 7, THERE: 9}, True)]
        assert consumer._read_offset[HERE] == 7
        assert consumer._committed_offset[THERE] == 9

    run(test())


def test_state_that_cannot_be_loaded_stops_the_worker(tmp_path: Path) -> None:
    """A partition must not be read without the state that belongs to it."""

    class Broken(RecordingFlow):
        async def assign(self, partitions: object) -> dict[tuple[str, int], int]:
            raise OSError("no snapshot")

    async def test() -> None:
        _, consumer, _ = stub_consumer(Broken(), tmp_path)
        with pytest.raises(Stopped, match="state of the assigned partitions"):
            await consumer.perform_seek()

    run(test())


def test_partitions_that_come_apart_stop_the_worker(tmp_path: Path) -> None:
    """H14, H15: with other assignors or partition counts no outcome would meet its prediction."""

    async def test() -> None:
        flow = RecordingFlow()
        _, consumer, thread = stub_consumer(flow, tmp_path)
        thread.assigned = {HERE, TP("x.b", 1)}
        with pytest.raises(Stopped, match="tidegate topics check"):
            await consumer.perform_seek()
        assert flow.assigned == []

    run(test())


def test_the_flow_hears_when_nothing_is_assigned_any_more(tmp_path: Path) -> None:
    """Faust seeks only when something is assigned; the host would keep folds of others."""

    async def test() -> None:
        flow = RecordingFlow()
        app, consumer, thread = stub_consumer(flow, tmp_path)

        async def nothing(*_: object) -> None:
            return

        app._rebalancing_sensor_state = {"unused": 0}
        consumer._on_partitions_assigned = nothing
        thread.assigned = set()
        await consumer.on_partitions_assigned(set(), 2)
        assert flow.assigned == [set()]

    run(test())


def test_full_queues_do_not_change_what_is_active(tmp_path: Path) -> None:
    """H9, H10: the bounded queue holds up fetching; a revoked partition must not come back."""

    async def test() -> None:
        _, consumer, _ = stub_consumer(RecordingFlow(), tmp_path)
        consumer.on_buffer_full(HERE)
        assert HERE in consumer._get_active_partitions()
        consumer.pause_partitions({HERE})
        consumer.on_buffer_drop(HERE)
        assert HERE not in consumer._get_active_partitions()

    run(test())


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

    run(test())


def test_fausts_stall_check_is_off(tmp_path: Path) -> None:
    """H17: it looks at aiokafka's fetches, which are paused while librdkafka fetches."""

    async def test() -> None:
        _, consumer, _ = stub_consumer(RecordingFlow(), tmp_path)
        consumer.verify_event_path(0.0, HERE)

    run(test())


def test_one_key_in_a_thousand_is_shown_to_the_flow(tmp_path: Path) -> None:
    """Another partitioner in a producer fails in silence: no outcome ever meets its prediction."""

    async def test() -> None:
        flow = RecordingFlow()
        _, consumer, thread = stub_consumer(flow, tmp_path)
        thread.fetches += [{HERE: records(first, 100)} for first in range(0, 2_500, 100)]
        await take(consumer, 25)
        assert flow.sampled == [("x.a", 0, b"k0")] * 3

    run(test())


def test_the_ends_of_the_logs_are_known(tmp_path: Path) -> None:
    """The host measures its lag against them."""

    async def test() -> None:
        _, consumer, _ = stub_consumer(RecordingFlow(), tmp_path)
        await consumer.perform_seek()
        assert consumer.end_offsets() == {HERE: 100, THERE: 100}

    run(test())
