"""Workers for transport tests: in this process, or in one of their own that may be killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

from confluent_kafka import Consumer, Producer, TopicPartition

from tidegate.agents.app import WorkerApp, build_app
from tidegate.agents.settings import Settings
from tidegate.agents.transport import Flow
from tidegate.schemas.marks import tick_headers

SECONDS = 30.0


class Stopped(Exception):
    """A process that would have ended."""


def raising(why: str, error: BaseException | None = None) -> NoReturn:
    """A fail-stop that raises instead of ending the process of the tests."""
    raise Stopped(why) from error


@asynccontextmanager
async def running(
    settings: Settings, topics: list[str], flow: Flow, role: str = "joiner"
) -> AsyncIterator[WorkerApp]:
    """A worker of `role` in this event loop, stopped at the end."""
    app = build_app(settings, role, topics, flow, raising)
    try:
        await app.start()
        yield app
    finally:
        await app.stop()
        # mode makes a loop for a consumer thread with the thread, and closes it when that has run:
        # after a start that failed nobody else does.
        loop = app.consumer._thread.thread_loop
        if not loop.is_running():
            loop.close()


async def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for `condition`; fails when it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.02)


def produce(settings: Settings, topic: str, count: int, partitions: int = 4) -> None:
    """Write `count` records into every partition of a topic: a tick, then values."""
    producer = Producer({**settings.kafka, "linger.ms": 5})
    for partition in range(partitions):
        producer.produce(topic, partition=partition, headers=tick_headers(1_000))
        for index in range(count - 1):
            producer.produce(topic, b"value %d" % index, b"key %d" % index, partition)
    assert producer.flush(SECONDS) == 0


def committed(settings: Settings, group: str, topic: str, partition: int) -> int:
    """The offset a group committed; negative when it did not."""
    consumer = Consumer({**settings.kafka, "group.id": group})
    try:
        found = consumer.committed([TopicPartition(topic, partition)], timeout=SECONDS)
        return int(found[0].offset)
    finally:
        consumer.close()
