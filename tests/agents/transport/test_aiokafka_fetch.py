"""agents/transport/aiokafka_fetch.py, without a broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.agents.transport.recording import RecordingFlow
from tests.agents.transport.stubs import HERE, THERE, stub_consumer, take


def test_a_full_partition_is_left_out_of_the_fetch(tmp_path: Path) -> None:
    """Pausing it instead would throw away what aiokafka has fetched ahead."""

    async def test() -> None:
        flow = RecordingFlow()
        _, consumer, thread = stub_consumer(flow, tmp_path)
        await take(consumer)
        flow.held[HERE] = flow.high_water
        await take(consumer)
        [(everything, long), (wanted, short)] = thread.asked
        assert everything == {HERE, THERE}
        assert wanted == {THERE}
        assert short < long

    asyncio.run(test())


def test_aiokafka_is_never_asked_for_nothing(tmp_path: Path) -> None:
    """An empty set of partitions means all of them to aiokafka."""

    async def test() -> None:
        flow = RecordingFlow()
        _, consumer, thread = stub_consumer(flow, tmp_path)
        flow.held[HERE] = flow.held[THERE] = flow.high_water
        assert await take(consumer) == []
        assert thread.asked == []

    asyncio.run(test())
