"""librdkafka consumers, one for each partition index: no index can take another's turn.

librdkafka decides by the length of a topic-partition's queue whether to fetch more of it, and all
queues of one consumer are one. While some topic-partitions keep that queue filled, another, which
its merge is waiting for, may get no turn for as long as there is a backlog. Within an index this
ends by itself: whatever runs ahead is paused at the high-water mark.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import confluent_kafka
from faust.types import TP


class Readers:
    """The consumers of a worker; they read by `assign()` and belong to no group.

    `new_client` makes one. Used from one thread.
    """

    def __init__(self, new_client: Callable[[], Any]) -> None:
        self._new_client = new_client
        self._clients: dict[int, Any] = {}
        self._turn = 0

    def assign(self, offsets: Mapping[TP, int], paused: Collection[TP]) -> list[Any]:
        """Read exactly these topic-partitions from there; returns clients to be closed.

        `paused` are those that were paused: librdkafka keeps an application's pause across
        `assign()`, and one that stays here would stand still for ever.
        """
        self.resume(paused)
        wanted: dict[int, list[Any]] = {}
        for tp, offset in offsets.items():
            wanted.setdefault(tp.partition, []).append(_partition(tp, offset))
        left = [self._clients.pop(index) for index in self._clients.keys() - wanted.keys()]
        for index, places in wanted.items():
            if index not in self._clients:
                self._clients[index] = self._new_client()
            self._clients[index].assign(places)
        return left

    def consume(self, count: int, wants: Callable[[int], bool]) -> list[Any]:
        """Some `count` messages of one index after the other; fewer when no more are there.

        Args:
            count: how many to take of an index, and after how many to stop.
            wants: whether an index takes anything now.
        """
        indexes = list(self._clients)
        messages: list[Any] = []
        for step in range(len(indexes)):
            index = indexes[(self._turn + step) % len(indexes)]
            if wants(index):
                messages += self._clients[index].consume(count, 0)
            if len(messages) >= count:
                self._turn = (self._turn + step + 1) % len(indexes)
                break
        return messages

    def pause(self, places: Iterable[TP]) -> None:
        """Stop fetching these; what was fetched ahead of them is thrown away."""
        for client, partitions in self._by_client(places):
            client.pause(partitions)

    def resume(self, places: Iterable[TP]) -> None:
        """Fetch these again, from where they were consumed to."""
        for client, partitions in self._by_client(places):
            client.resume(partitions)

    def close(self) -> None:
        """Let go of all; blocks."""
        while self._clients:
            self._clients.popitem()[1].close()

    def _by_client(self, places: Iterable[TP]) -> list[tuple[Any, list[Any]]]:
        found: dict[int, list[Any]] = {}
        for tp in places:
            if tp.partition in self._clients:
                found.setdefault(tp.partition, []).append(_partition(tp))
        return [(self._clients[index], partitions) for index, partitions in found.items()]


def _partition(tp: TP, offset: int = confluent_kafka.OFFSET_INVALID) -> Any:
    return confluent_kafka.TopicPartition(tp.topic, tp.partition, offset)
