"""aiokafka's consumer in its own thread: it keeps the group, the assignor and the commits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from aiokafka import OffsetAndMetadata
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ensure_aiokafka_TP
from faust.types import TP

from tidegate.agents.transport.counters import Counters

_log = logging.getLogger(__name__)

# Faust asks brokers to hold a fetch for 1,500 ms; as there is one fetch at a time to a broker,
# an idle partition then holds up a lagging one for as long.
FETCH_MAX_WAIT_MS = 50
_COMMIT_SECONDS = 5.0


class BatchConsumerThread(AIOKafkaConsumerThread):
    """Faust's consumer thread without its waits, and with group errors brought to light."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Not a setting of Faust: it gives aiokafka a constant.
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer

    async def on_start(self) -> None:
        """Start the consumer; an undrained partition must not hold back the others by 100 ms."""
        await super().on_start()
        self._ensure_consumer()._fetcher._prefetch_backoff = 0.0
        self._listen_to_group(self._ensure_consumer()._coordinator)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit what is still assigned. Committed offsets only serve to watch the lag.

        So a commit that fails, as it may during any rebalance, is no reason to stop.
        """
        owned = self.assignment()
        chosen = {
            ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in owned
        }
        try:
            await asyncio.wait_for(self._ensure_consumer().commit(chosen), _COMMIT_SECONDS)
        except (KafkaError, TimeoutError) as error:
            _log.warning("offsets were not committed: %r", error)
            return False
        return True

    async def coordination_error(self) -> KafkaError | None:
        """The error for which aiokafka has stopped taking part in the group, if there is one.

        aiokafka hands it to whoever fetches through its public calls and waits until somebody
        took it. Faust never does, so one SyncGroup error leaves a worker alive without partitions.
        Also says that somebody is fetching: without that aiokafka leaves the group in the end.
        """
        return await self.call_thread(self._coordination_error)

    async def _coordination_error(self) -> KafkaError | None:
        consumer = self._consumer
        if consumer is None or consumer._coordinator is None:
            return None
        with consumer._subscription.fetch_context():
            try:
                consumer._coordinator.check_errors()
            except KafkaError as error:
                return error
        return None

    async def rejoin(self) -> None:
        """Ask the group to deal its partitions anew."""
        await self.call_thread(self._rejoin)

    async def _rejoin(self) -> None:
        self._ensure_consumer()._coordinator.request_rejoin()

    def _listen_to_group(self, coordinator: Any) -> None:
        """Take note when the group speaks: aiokafka tells nobody how long it has been silent."""
        heartbeat, complete = coordinator._do_heartbeat, coordinator._on_join_complete
        counters: Counters = self.consumer.counters

        async def noted_heartbeat() -> bool:
            heard: bool = await heartbeat()
            if heard:
                counters.group_at = time.monotonic()
            return heard

        async def noted_join(*arguments: Any) -> None:
            # Before too: state is loaded in between, and no heartbeat is sent meanwhile.
            counters.group_at = time.monotonic()
            await complete(*arguments)
            counters.group_at = time.monotonic()

        coordinator._do_heartbeat, coordinator._on_join_complete = noted_heartbeat, noted_join

    async def read_from(self, offsets: Mapping[TP, int], *, fetching: bool) -> None:
        """Go on at `offsets`, leaving out what is no longer assigned.

        `fetching=False`: aiokafka fetches nothing of them, another client does.
        """
        await self.call_thread(self._read_from, dict(offsets), fetching)

    async def _read_from(self, offsets: Mapping[TP, int], fetching: bool) -> None:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for tp, offset in offsets.items():
            partition = ensure_aiokafka_TP(tp)
            if partition not in assigned:
                continue
            if not fetching:
                consumer.pause(partition)
            consumer.seek(partition, offset)
