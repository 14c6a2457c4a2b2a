"""agents/transport/positions.py, without a broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from faust.types import TP

from tests.agents.transport.recording import RecordingFlow
from tests.agents.transport.stubs import HERE, THERE, records, stub_consumer, take
from tests.agents.transport.workers import Stopped
from tidegate.agents.transport import positions


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

    asyncio.run(test())


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

    asyncio.run(test())


def test_batches_are_no_gaps(tmp_path: Path) -> None:
    """H1: to Faust a batch is a gap of as many offsets as it has records."""

    async def test() -> None:
        _, consumer, _ = stub_consumer(RecordingFlow(), tmp_path)
        await consumer._add_gap(HERE, 1, 5_000)
        assert not consumer._gap[HERE]

    asyncio.run(test())


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

    asyncio.run(test())


def test_state_that_cannot_be_loaded_stops_the_worker(tmp_path: Path) -> None:
    """A partition must not be read without the state that belongs to it."""

    class Broken(RecordingFlow):
        async def assign(self, partitions: object) -> dict[tuple[str, int], int]:
            raise OSError("no snapshot")

    async def test() -> None:
        _, consumer, _ = stub_consumer(Broken(), tmp_path)
        with pytest.raises(Stopped, match="state of the assigned partitions"):
            await consumer.perform_seek()

    asyncio.run(test())


def test_partitions_that_come_apart_stop_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H14, H15: with other assignors or partition counts no outcome would meet its prediction.

    The group is asked for another deal first: the one it has may be of a moment without leaders.
    """
    monkeypatch.setattr(positions, "_UNEVEN_DEAL_SECONDS", 0.0)

    async def test() -> None:
        flow = RecordingFlow()
        _, consumer, thread = stub_consumer(flow, tmp_path)
        thread.assigned = {HERE, TP("x.b", 1)}
        for deal in range(1, positions.UNEVEN_DEALS_MAX + 1):
            await consumer.perform_seek()
            assert thread.rejoined == deal
        with pytest.raises(Stopped, match="tidegate topics check"):
            await consumer.perform_seek()
        assert not any(flow.assigned)
        assert not any(offsets for offsets, _ in thread.reads)

    asyncio.run(test())


def test_only_uneven_deals_in_a_row_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that lives for months may be dealt unevenly more than ten times in all."""
    monkeypatch.setattr(positions, "_UNEVEN_DEAL_SECONDS", 0.0)

    async def test() -> None:
        flow = RecordingFlow()
        _, consumer, thread = stub_consumer(flow, tmp_path)
        for _ in range(2):
            for _ in range(positions.UNEVEN_DEALS_MAX):
                thread.assigned = {HERE, TP("x.b", 1)}
                await consumer.perform_seek()
            thread.assigned = {HERE, THERE}
            await consumer.perform_seek()
            assert flow.assigned[-1] == {HERE, THERE}

    asyncio.run(test())


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

    asyncio.run(test())


def test_full_queues_do_not_change_what_is_active(tmp_path: Path) -> None:
    """H9, H10: the bounded queue holds up fetching; a revoked partition must not come back."""

    async def test() -> None:
        _, consumer, _ = stub_consumer(RecordingFlow(), tmp_path)
        consumer.on_buffer_full(HERE)
        assert HERE in consumer._get_active_partitions()
        consumer.pause_partitions({HERE})
        consumer.on_buffer_drop(HERE)
        assert HERE not in consumer._get_active_partitions()

    asyncio.run(test())


def test_fausts_stall_check_is_off(tmp_path: Path) -> None:
    """H17: it looks at aiokafka's fetches, which are paused while librdkafka fetches."""

    async def test() -> None:
        _, consumer, _ = stub_consumer(RecordingFlow(), tmp_path)
        consumer.verify_event_path(0.0, HERE)

    asyncio.run(test())
