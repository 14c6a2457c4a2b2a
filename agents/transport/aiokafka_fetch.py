"""aiokafka fetches: the plain choice, needs nothing but what Faust itself needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from faust.transport.drivers.aiokafka import Transport
from faust.types import TP

from tidegate.agents.transport.consumer import BatchConsumer
from tidegate.agents.transport.fetched import Batch, from_aiokafka

_FETCH_SECONDS = 0.25
# What is not wanted now may be wanted as soon as the agent had a turn.
_CROWDED_FETCH_SECONDS = 0.005


class AiokafkaConsumer(BatchConsumer):
    """Batches of what aiokafka fetched ahead."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._again: set[TP] = set()

    async def _fetch(
        self, active: set[TP], generation: int
    ) -> tuple[list[tuple[TP, Batch]], Mapping[TP, Any]]:
        if self._again:
            await self._read_again()
        others = {tp for tp in active if not self._is_batched(tp)}
        chosen = self._wanted(active) | others
        if not chosen:  # an empty set means everything to aiokafka
            await asyncio.sleep(0.001)
            return [], {}
        wait = _FETCH_SECONDS if len(chosen) == len(active) else _CROWDED_FETCH_SECONDS
        found = await self._getmany(active_partitions=chosen, timeout=wait)
        batches: list[tuple[TP, Batch]] = []
        records: dict[TP, Any] = {}
        for partition, fetched in found.items():
            tp = TP(partition.topic, partition.partition)
            if not self._is_batched(tp):
                records[tp] = fetched
            elif tp in self._deliveries:
                batches += [(tp, batch) for batch in from_aiokafka(fetched)]
        return batches, records

    def _discard(self, tp: TP) -> None:
        """aiokafka has moved on behind what is dropped, perhaps after Faust's own seek."""
        super()._discard(tp)
        self._again.add(tp)

    async def _read_again(self) -> None:
        offsets = {
            tp: self._deliveries[tp].expected for tp in self._again if tp in self._deliveries
        }
        self._again.clear()
        await self._read_from(offsets)


class AiokafkaTransport(Transport):
    """Faust transport `tidegate-aiokafka://`."""

    Consumer = AiokafkaConsumer
