"""The part both fetchers share: one message per topic-partition fetch, and its life in Faust."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka.errors import (
    AuthenticationFailedError,
    CorruptRecordException,
    GroupAuthorizationFailedError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)
from faust.types import TP, ConsumerMessage
from mode import Service

from tidegate.agents.transport.fetched import Batch, OffsetHole
from tidegate.agents.transport.positions import PositionedConsumer

_log = logging.getLogger(__name__)

_COORDINATION_CHECK_SECONDS = 1.0
_IDLE_SECONDS = 0.05
_SAMPLE_EVERY = 1_000
_NOT_ALLOWED = (
    AuthenticationFailedError,
    GroupAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)
_LOST = (
    CorruptRecordException,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
)


class BatchConsumer(PositionedConsumer):
    """Consumer whose messages are whole fetches of the app's batched topics.

    A message has the offset of its last record, so that Faust's commits and checks fit. Other
    topics of the app pass unchanged.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._until_sample = 0

    @abstractmethod
    async def _fetch(
        self, active: set[TP], generation: int
    ) -> tuple[list[tuple[TP, Batch]], Mapping[TP, Any]]:
        """Fetch some of what `active` and the flow allow: batches, and records of other topics.

        Waits a little when there is nothing. What it returns when `generation` has passed is
        dropped.
        """

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """One round of fetching; Faust calls it again and again."""
        try:
            if not self.flow_active:
                await self.wait(self.can_resume_flow)
            # Before the fetch: one that crossed a rebalance must not pass for one after it.
            generation = self.app.consumer_generation_id
            if self._seek_due and self.flow_active and self.assignment():
                await self.perform_seek()
            active = self._get_active_partitions()
            if not active or self.should_stop:
                await asyncio.sleep(_IDLE_SECONDS)
                return
            batches, records = await self._fetch(active, generation)
            for tp, batch in batches:
                if not self._still(generation):
                    self._discard(tp)
                    continue
                rest = self._rest(tp, batch)
                if rest is not batch:
                    self.counters.trimmed += 1
                if rest is not None:
                    yield tp, self._message(tp, rest, generation)
            for tp, record in self.scheduler.iterate(records):
                if not self._still(generation):
                    return
                yield tp, self._to_message(tp, record)
        except self.consumer_stopped_errors:
            raise
        except Exception as error:
            # aiokafka also tells a waiting fetch what is wrong with the group.
            if not isinstance(error, KafkaError) or isinstance(error, _LOST + _NOT_ALLOWED):
                self.batching.fail(_explain(error), error)
            self._note_coordination(error)

    def _still(self, generation: int) -> bool:
        return (
            self.flow_active
            and not self.should_stop
            and not self._seek_due
            and generation == self.app.consumer_generation_id
        )

    def _rest(self, tp: TP, batch: Batch) -> Batch | None:
        """What of a batch is news. It may begin behind a hole, if that is accepted.

        Raises:
            OffsetHole: records are missing before it.
        """
        deliveries = self._deliveries[tp]
        if batch.first_offset > deliveries.expected:
            flow = self.batching.flow
            deliveries.expected = flow.after(tp.topic, tp.partition, deliveries.expected)
        try:
            return batch.trimmed(deliveries.expected)
        except OffsetHole as hole:
            raise OffsetHole(f"{hole} of {tp.topic}-{tp.partition}") from None

    def _discard(self, tp: TP) -> None:
        """A fetch of `tp` is dropped; Faust seeks before the flow resumes, so it is read again."""
        self.counters.discarded += 1

    def _message(self, tp: TP, batch: Batch, generation: int) -> Any:
        last_offset = batch.next_offset - 1
        self._deliveries[tp].deliver(last_offset)
        self.counters.batches += 1
        self.counters.records += len(batch.values)
        self._until_sample -= len(batch.values)
        if self._until_sample <= 0:
            self._until_sample = _SAMPLE_EVERY
            key = batch.sample_key()
            if key is not None:
                self.batching.flow.sample(tp.topic, tp.partition, key)
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=last_offset,
            timestamp=0.0,
            timestamp_type=0,
            headers=[],
            key=None,
            value=batch.fetched(),
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            # Without it Faust's streams skip every message in silence.
            generation_id=generation,
        )

    def _wanted(self, active: set[TP]) -> set[TP]:
        """Batched topic-partitions of `active` that may be fetched."""
        flow = self.batching.flow
        return {
            tp
            for tp in active
            if tp in self._deliveries
            and flow.want(tp.topic, tp.partition, self._deliveries[tp].in_flight)
        }

    @Service.task
    async def _watch_coordination(self) -> None:
        while not self.should_stop:
            await self.sleep(_COORDINATION_CHECK_SECONDS)
            error = await self._thread.coordination_error()
            if error is not None:
                self._note_coordination(error)

    def _note_coordination(self, error: KafkaError) -> None:
        self.counters.coordination_errors += 1
        if isinstance(error, _NOT_ALLOWED):
            self.batching.fail(f"the brokers refuse this worker: {error!r}", error)
        _log.error("the group coordinator reported %r; taking part again", error)


def _explain(error: BaseException) -> str:
    if isinstance(error, OffsetHole):
        return (
            f"the log has a hole: {error}; merged topics must not be compacted nor written by "
            "transactional producers. If nothing is to be had of it any more, accept it with "
            "`tidegate mark skip`, and start again"
        )
    return f"fetching failed: {error!r}"
