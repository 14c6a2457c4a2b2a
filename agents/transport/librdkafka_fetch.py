"""librdkafka fetches, outside the interpreter lock; aiokafka keeps group, assignor and commits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import methodcaller
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException
from faust.transport.drivers.aiokafka import Transport
from faust.types import TP

from tidegate.agents.transport.clients import fetcher_settings
from tidegate.agents.transport.consumer import BatchConsumer
from tidegate.agents.transport.fetched import Batch, from_librdkafka
from tidegate.agents.transport.gathering import Gathering
from tidegate.agents.transport.readers import Readers

_log = logging.getLogger("tidegate.kafka")

_topic, _partition = methodcaller("topic"), methodcaller("partition")

# A multiple of this does not pay: fewer records stay in the processor's cache.
_CONSUME_RECORDS = 500
_GATHER_SECONDS = 0.004
_IDLE_ROUNDS = 50
# librdkafka goes on trying by itself.
_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    }
)


class HybridConsumer(BatchConsumer):
    """Batches of what librdkafka fetched ahead.

    librdkafka reads by `assign()`: it has a group id because it must, and never joins.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._readers = Readers(self._new_client)
        self._paused: set[TP] = set()
        self._grown: set[TP] = set()
        self._gathering = Gathering()
        self._emptied = False

    async def on_stop(self) -> None:
        """Close the second clients too."""
        await super().on_stop()
        await asyncio.get_running_loop().run_in_executor(None, self._readers.close)

    def _new_client(self) -> Any:
        settings = fetcher_settings(self.batching.kafka, self.app.conf.id)
        return confluent_kafka.Consumer({**settings, "error_cb": _note}, logger=_log)

    async def _read_from(self, offsets: Mapping[TP, int]) -> None:
        await self._thread.read_from(offsets, fetching=False)
        self._gathering.clear()
        left = self._readers.assign(offsets, self._paused)
        self._paused.clear()
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, client.close) for client in left))

    async def _fetch(
        self, active: set[TP], generation: int
    ) -> tuple[list[tuple[TP, Batch]], Mapping[TP, Any]]:
        others = {tp for tp in active if not self._is_batched(tp)}
        records = await self._getmany(others, 0.0) if others else {}
        # Idle rounds stay in here: going round through Faust costs ten times as much.
        rounds = 1 if others else _IDLE_ROUNDS
        for _ in range(rounds):
            if self._emptied:
                await asyncio.sleep(_GATHER_SECONDS)
            # Nothing waits behind this: what is consumed is delivered, or read again after a seek.
            if not self._still(generation):
                break
            due = self._consume()
            if due:
                batches = [(tp, it) for tp, of_one in due.items() for it in from_librdkafka(of_one)]
                return batches, records
        return [], records

    def _consume(self) -> dict[TP, list[Any]]:
        """What there is, as far as it is due."""
        self._steer()
        messages = self._readers.consume(_CONSUME_RECORDS, self._wanted_indexes().__contains__)
        self._emptied = len(messages) < _CONSUME_RECORDS
        groups = _group(messages)
        self._grown.update(groups)
        return self._gathering.exchange(groups, time.monotonic(), everything=not self._emptied)

    def _wanted_indexes(self) -> set[int]:
        """Of which the host takes anything now; what it holds of single logs is steered."""
        flow = self.batching.flow
        return {
            tp.partition
            for tp, deliveries in self._deliveries.items()
            if flow.want(tp.topic, tp.partition, deliveries.in_flight)
        }

    def _steer(self) -> None:
        """Pause what has enough, resume what runs low."""
        flow = self.batching.flow
        held = {
            tp: flow.buffered(tp.topic, tp.partition)
            + self._deliveries[tp].in_flight
            + self._gathering.count(tp)
            for tp in self._grown | self._paused
            if tp in self._deliveries
        }
        self._grown.clear()
        pause = [tp for tp in held if tp not in self._paused and held[tp] >= flow.high_water]
        resume = [tp for tp in held if tp in self._paused and held[tp] <= flow.low_water]
        if pause:
            self._readers.pause(pause)
            self._paused.update(pause)
            self.counters.pauses += len(pause)
        if resume:
            self._readers.resume(resume)
            self._paused.difference_update(resume)


def _note(error: KafkaError) -> None:
    _log.warning("librdkafka reported %s", error)


def _group(messages: Sequence[Any]) -> dict[TP, list[Any]]:
    """Messages by topic-partition, in order.

    Raises:
        KafkaException: librdkafka reported something it does not get over by itself.
    """
    errors = [error for message in messages if (error := message.error()) is not None]
    for error in errors:
        if error.code() not in _PASSING:
            raise KafkaException(error)
        _note(error)
    if errors:
        messages = [message for message in messages if message.error() is None]
    groups: dict[TP, list[Any]] = {}
    # Every message is asked whose it is: one that is only counted on, because offsets around it
    # fit, may stand where the log has a hole.
    for topic, of_topic in groupby(messages, _topic):
        for partition, run in groupby(of_topic, _partition):
            groups.setdefault(TP(topic, partition), []).extend(run)
    return groups


class HybridTransport(Transport):
    """Faust transport `tidegate://`."""

    Consumer = HybridConsumer
