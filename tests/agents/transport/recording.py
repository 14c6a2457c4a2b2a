"""A flow that owns no folds: it records what the transport does, and tells where to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from tidegate.agents.transport import TopicPartition
from tidegate.streams.merge import Fetched


class RecordingFlow:
    """Takes everything that comes, keeps it, and reads on where it stopped."""

    def __init__(self, starts: Mapping[TopicPartition, int] | None = None) -> None:
        self.high_water = 4_000
        self.low_water = 1_000
        self.starts = dict(starts or {})
        self.assigned: list[set[TopicPartition]] = []
        self.fed: dict[TopicPartition, list[Fetched]] = defaultdict(list)
        self.sampled: list[tuple[str, int, bytes]] = []
        self.held: dict[TopicPartition, int] = defaultdict(int)
        self.gaps: dict[TopicPartition, dict[int, int]] = defaultdict(dict)
        self.on_feed: Callable[[TopicPartition, Fetched], None] | None = None

    def want(self, topic: str, partition: int, in_flight: int) -> bool:
        """Below the high water mark."""
        return self.held[topic, partition] + in_flight < self.high_water

    def buffered(self, topic: str, partition: int) -> int:
        """What a test says is held."""
        return self.held[topic, partition]

    async def assign(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Behind the last fed record, else where the test wants to start, else 0."""
        self.assigned.append({(topic, partition) for topic, partition in partitions})
        return {
            (topic, partition): self.next_offset((topic, partition))
            for topic, partition in partitions
        }

    def next_offset(self, place: TopicPartition) -> int:
        """Where to read on."""
        if self.fed[place]:
            last = self.fed[place][-1]
            return last.first_offset + len(last.values)
        return self.starts.get(place, 0)

    def after(self, topic: str, partition: int, offset: int) -> int:
        """Behind what a test accepts as lost."""
        return self.gaps[topic, partition].get(offset, offset)

    def feed(self, topic: str, partition: int, fetched: Fetched) -> None:
        """Keep the fetch."""
        if self.on_feed is not None:
            self.on_feed((topic, partition), fetched)
        self.fed[topic, partition].append(fetched)

    def sample(self, topic: str, partition: int, key: bytes) -> None:
        """Keep the key."""
        self.sampled.append((topic, partition, key))

    def count(self) -> int:
        """How many records were fed."""
        return sum(len(fetched.values) for several in self.fed.values() for fetched in several)

    def offsets(self, place: TopicPartition) -> list[int]:
        """Offsets fed of a topic-partition, in the order of feeding."""
        return [
            fetched.first_offset + index
            for fetched in self.fed[place]
            for index in range(len(fetched.values))
        ]
