"""What the transport asks of whoever owns the folds: where to read, how much, and to take it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tidegate.agents.failstop import FailStop, fail_stop
from tidegate.streams.merge import Fetched

TopicPartition = tuple[str, int]
"""Full topic name (with prefix) and partition; Faust's and aiokafka's own types equal it."""


class Flow(Protocol):
    """The host of the folds, as the transport sees it.

    All methods but `assign` return at once and are called on the event loop of the worker.
    `in_flight` is how many records of the topic-partition were delivered and not yet fed: the
    transport counts them, the host counts what it has buffered.

    `high_water` is where a client that fetches ahead is paused (buffered + in flight), and
    `low_water` where it is resumed: pausing throws away what the client fetched ahead, so the
    two must lie well apart.
    """

    high_water: int
    low_water: int

    def want(self, topic: str, partition: int, in_flight: int) -> bool:
        """Whether more records of this topic-partition may be fetched now.

        A topic-partition with nothing buffered and nothing in flight must be wanted, or the
        merge can wait for ever.
        """

    def buffered(self, topic: str, partition: int) -> int:
        """Records fed and not yet released."""

    async def assign(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Own exactly `partitions` from now on; returns the next offset to read of each.

        Loads state for what is new, keeps what was there before, drops the rest. It may be
        cancelled while it waits, when the group changes again, and is then called anew.
        """

    def after(self, topic: str, partition: int, offset: int) -> int:
        """Where the log goes on when `offset` is next: behind what is accepted as lost there."""

    def feed(self, topic: str, partition: int, fetched: Fetched) -> None:
        """Take a fetch. Whatever it raises ends the process before the fetch is acknowledged."""

    def sample(self, topic: str, partition: int, key: bytes) -> None:
        """The key of about one record in a thousand, to check which partitioner wrote it."""


@dataclass(frozen=True, slots=True)
class Batching:
    """What a Faust app carries for its transport: the batched topics, their flow, the clients.

    `topics` are full names in rank order; `kafka` are client settings with dotted keys, handed
    on verbatim; `fail` ends the process when the transport cannot go on. Topics of the app that
    are not named here keep Faust's one message per record.
    """

    topics: tuple[str, ...]
    flow: Flow
    kafka: Mapping[str, str] = field(default_factory=dict)
    fail: FailStop = fail_stop
