"""The part both fetchers share: one message per topic-partition fetch, and its life in Faust."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
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
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP, ConsumerMessage
from mode import Service

from tidegate.agents.transport.deliveries import Deliveries
from tidegate.agents.transport.fetched import Batch, OffsetHole
from tidegate.agents.transport.flow import Batching
from tidegate.agents.transport.thread import BatchConsumerThread

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


@dataclass(slots=True)
class Counters:
    """What the transport met since the process began."""

    records: int = 0
    batches: int = 0
    trimmed: int = 0
    discarded: int = 0
    coordination_errors: int = 0
    pauses: int = 0


class BatchConsumer(Consumer):
    """Consumer whose messages are whole fetches of the app's batched topics.

    A message has the offset of its last record, so that Faust's commits and checks fit. Other
    topics of the app pass unchanged.
    """

    _thread: BatchConsumerThread

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.batching: Batching = self.app.batching
        self.counters = Counters()
        self._deliveries: dict[TP, Deliveries] = {}
        self._seek_due = True
        self._assigning = asyncio.Lock()
        self._until_sample = 0

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- fetching

    @abstractmethod
    async def _fetch(self, active: set[TP]) -> tuple[list[tuple[TP, Batch]], Mapping[TP, Any]]:
        """Fetch some of what `active` and the flow allow: batches, and records of other topics.

        Waits a little when there is nothing.
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
            batches, records = await self._fetch(active)
            for tp, batch in batches:
                if not self._still(generation):
                    self._discard(tp)
                    continue
                rest = batch.trimmed(self._deliveries[tp].expected)
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

    def _is_batched(self, tp: Any) -> bool:
        return tp.topic in self.batching.topics

    # -- offsets: acknowledged, committed, sought

    def ack(self, message: Any) -> bool:
        """Take note that the agent is done with a message."""
        acknowledged = bool(super().ack(message))
        deliveries = self._deliveries.get(message.tp)
        if deliveries is not None and acknowledged:
            deliveries.acknowledge(message.offset)
        return acknowledged

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._is_batched(tp):
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        if not self._is_batched(tp):
            offset: int | None = super()._new_offset(tp)
            return offset
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        deliveries = self._deliveries.get(tp)
        return deliveries.committable() if deliveries is not None else None

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to where the flow wants to read, not to what was committed."""
        async with self._assigning:
            assigned = set(self.assignment())
            batched = {tp for tp in assigned if self._is_batched(tp)}
            offsets: dict[TP, int] = {}
            if assigned - batched:
                offsets.update(await super().seek_to_committed())
            chosen = await self._assign(batched)
            await self._read_from(chosen)
            self._deliveries = {tp: Deliveries(offset) for tp, offset in chosen.items()}
            for tp in batched:
                self._acked.pop(tp, None)
                self._acked_index.pop(tp, None)
            self._seek_due = False
            return {**offsets, **chosen}

    async def _assign(self, batched: set[TP]) -> dict[TP, int]:
        self._check_colocation(batched)
        try:
            offsets = await self.batching.flow.assign(batched)
        except Exception as error:
            self.batching.fail("the state of the assigned partitions cannot be loaded", error)
        return {tp: offsets[tp] for tp in batched}

    async def _read_from(self, offsets: Mapping[TP, int]) -> None:
        await self._thread.read_from(offsets, fetching=True)

    def _check_colocation(self, batched: set[TP]) -> None:
        """A partition index must come whole; Faust's assignor promises it, others do not."""
        partitions = {
            topic: {tp.partition for tp in batched if tp.topic == topic}
            for topic in self.batching.topics
        }
        if len({frozenset(numbers) for numbers in partitions.values()}) > 1:
            self.batching.fail(
                f"the group gave this worker different partitions of its topics: {partitions}; "
                "they must have equal partition counts: run `tidegate topics check`"
            )

    # -- rebalances

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit before Faust forgets what was acknowledged, then forget."""
        await self.commit()
        self._seek_due = True
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._deliveries.pop(tp, None)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Faust seeks only when something is assigned; the flow must hear of nothing too."""
        self._seek_due = True
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            async with self._assigning:
                self._deliveries.clear()
                await self._assign(set())
                await self._read_from({})

    # -- what Faust does for single messages and must not do for batches

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: the bounded queue of the topic holds up the fetching itself."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing: a partition must not become active again behind a rebalance."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust looks at aiokafka's fetches, which may not be where records come from."""

    # -- what the host watches

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

    def end_offsets(self) -> dict[TP, int]:
        """Offset after the last record of each batched topic-partition, as far as known."""
        ends = {tp: self._end_offset(tp) for tp in self.assignment() if tp in self._deliveries}
        return {tp: end for tp, end in ends.items() if end is not None}

    def _end_offset(self, tp: TP) -> int | None:
        end: int | None = self.highwater(tp)
        return end


def _explain(error: BaseException) -> str:
    if isinstance(error, OffsetHole):
        return (
            f"the log has a hole: {error}; merged topics must not be compacted nor written by "
            "transactional producers"
        )
    return f"fetching failed: {error!r}"
