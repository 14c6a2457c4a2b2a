"""Where a consumer of batches is: what it acknowledged, committed and sought, across rebalances."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP

from tidegate.agents.transport.counters import Counters
from tidegate.agents.transport.deliveries import Deliveries
from tidegate.agents.transport.flow import Batching
from tidegate.agents.transport.thread import BatchConsumerThread

_log = logging.getLogger("tidegate.kafka")

UNEVEN_DEALS_MAX = 10
_UNEVEN_DEAL_SECONDS = 1.0


class PositionedConsumer(Consumer):
    """Faust's consumer with its bookkeeping of single offsets replaced, for batched topics.

    Other topics of the app keep Faust's own.
    """

    _thread: BatchConsumerThread

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.batching: Batching = self.app.batching
        self.counters = Counters()
        self._deliveries: dict[TP, Deliveries] = {}
        self._seek_due = True
        self._assigning = asyncio.Lock()
        self._uneven_deals = 0

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _is_batched(self, tp: Any) -> bool:
        return tp.topic in self.batching.topics

    # -- offsets: acknowledged, committed, sought

    def ack(self, message: Any) -> bool:
        """Take note that the agent is done with a message."""
        acknowledged = bool(super().ack(message))
        deliveries = self._deliveries.get(message.tp)
        if deliveries is not None:
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
        taken = await self._colocated(batched)
        try:
            offsets = await self.batching.flow.assign(taken)
        except Exception as error:
            self.batching.fail("the state of the assigned partitions cannot be loaded", error)
        return {tp: offsets[tp] for tp in taken}

    async def _read_from(self, offsets: Mapping[TP, int]) -> None:
        await self._thread.read_from(offsets, fetching=True)

    async def _colocated(self, batched: set[TP]) -> set[TP]:
        """What of a deal may be read: all, or nothing if a partition index does not come whole.

        Faust's assignor deals them whole, but of a topic without leaders it deals nothing. And as
        workers are static members (KIP-345), the broker gives that deal again to whoever comes
        back under the same name, leaders or not, until somebody asks for another.
        """
        partitions = {
            topic: {tp.partition for tp in batched if tp.topic == topic}
            for topic in self.batching.topics
        }
        if len({frozenset(numbers) for numbers in partitions.values()}) <= 1:
            self._uneven_deals = 0
            return batched
        self._uneven_deals += 1
        why = f"the group gave this worker different partitions of its topics: {partitions}"
        if self._uneven_deals > UNEVEN_DEALS_MAX:
            self.batching.fail(
                f"{why}; they must have equal partition counts (run `tidegate topics check`), and"
                " one that was just made needs leaders first"
            )
        _log.warning("%s; asking for another deal", why)
        await asyncio.sleep(_UNEVEN_DEAL_SECONDS)
        await self._thread.rejoin()
        return set()

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
