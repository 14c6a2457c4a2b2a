"""agents/transport/thread.py"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, UnknownError
from faust.types import TP

from tidegate.agents.transport.thread import BatchConsumerThread

HERE, THERE = TP("x.a", 0), TP("x.a", 1)


class StubAiokafka:
    """Stands for `AIOKafkaConsumer`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.commit_error: Exception | None = None
        self.group_errors: list[Exception] = []
        self.fetching = 0
        self._coordinator = SimpleNamespace(
            check_errors=self._check, request_rejoin=lambda: self.calls.append(("rejoin", None))
        )
        self._subscription = SimpleNamespace(fetch_context=self._fetch_context)

    def assignment(self) -> set[TopicPartition]:
        """One partition is assigned."""
        return {TopicPartition("x.a", 0)}

    def pause(self, partition: TopicPartition) -> None:
        """Note a pause."""
        self.calls.append(("pause", partition))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Note a seek."""
        self.calls.append(("seek", (partition, offset)))

    async def commit(self, offsets: dict[TopicPartition, Any]) -> None:
        """Note a commit, or fail."""
        if self.commit_error is not None:
            raise self.commit_error
        self.calls.append(("commit", {tp: meta.offset for tp, meta in offsets.items()}))

    def _check(self) -> None:
        if self.group_errors:
            raise self.group_errors.pop(0)

    @contextmanager
    def _fetch_context(self) -> Iterator[None]:
        self.fetching += 1
        yield


@pytest.fixture
def aiokafka() -> StubAiokafka:
    """The consumer inside the thread."""
    return StubAiokafka()


@pytest.fixture
def thread(aiokafka: StubAiokafka) -> BatchConsumerThread:
    """A thread that is not one: its calls run where they are made."""
    made = object.__new__(BatchConsumerThread)
    made._consumer = aiokafka

    async def call_thread(function: Any, *arguments: Any) -> Any:
        return await function(*arguments)

    made.call_thread = call_thread
    return made


def test_only_what_is_assigned_is_committed(
    thread: BatchConsumerThread, aiokafka: StubAiokafka
) -> None:
    """Another worker owns the rest by now."""
    assert asyncio.run(thread._commit({HERE: 5, THERE: 6}))
    assert aiokafka.calls == [("commit", {HERE: 5})]


@pytest.mark.parametrize("error", [CommitFailedError("rebalanced"), UnknownError(), TimeoutError()])
def test_a_failed_commit_is_no_reason_to_stop(
    thread: BatchConsumerThread, aiokafka: StubAiokafka, error: Exception
) -> None:
    """Committed offsets only serve to watch the lag; Faust would crash the worker."""
    aiokafka.commit_error = error
    assert not asyncio.run(thread._commit({HERE: 5}))


def test_group_errors_are_read_so_that_aiokafka_goes_on(
    thread: BatchConsumerThread, aiokafka: StubAiokafka
) -> None:
    """H7: aiokafka takes no part in the group until somebody has read its error."""
    aiokafka.group_errors.append(UnknownError("SyncGroup"))
    assert isinstance(asyncio.run(thread.coordination_error()), UnknownError)
    assert asyncio.run(thread.coordination_error()) is None


def test_looking_for_group_errors_counts_as_fetching(
    thread: BatchConsumerThread, aiokafka: StubAiokafka
) -> None:
    """While librdkafka fetches, aiokafka would leave the group as idle (max.poll.interval)."""
    asyncio.run(thread.coordination_error())
    assert aiokafka.fetching == 1


def test_before_the_start_there_is_nothing_to_read(thread: BatchConsumerThread) -> None:
    """The watch begins before the group is joined."""
    thread._consumer = None
    assert asyncio.run(thread.coordination_error()) is None


def test_reading_elsewhere_leaves_out_what_was_taken_away(
    thread: BatchConsumerThread, aiokafka: StubAiokafka
) -> None:
    """The group may change again while state is loaded; the next seek is then under way."""
    asyncio.run(thread.read_from({HERE: 5, THERE: 6}, fetching=True))
    assert aiokafka.calls == [("seek", (HERE, 5))]


def test_partitions_that_another_client_fetches_are_paused_first(
    thread: BatchConsumerThread, aiokafka: StubAiokafka
) -> None:
    """A seek wakes the fetcher."""
    asyncio.run(thread.read_from({HERE: 5}, fetching=False))
    assert aiokafka.calls == [("pause", HERE), ("seek", (HERE, 5))]


def test_another_deal_is_asked_of_the_group(
    thread: BatchConsumerThread, aiokafka: StubAiokafka
) -> None:
    """A static member is given its old deal again until it asks."""
    asyncio.run(thread.rejoin())
    assert aiokafka.calls == [("rejoin", None)]
