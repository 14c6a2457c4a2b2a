"""The topics: who writes them, who reads them, how they are keyed, cut and kept.

This table is the only place that knows; `tidegate topics`, the ticker, the agents and the
documentation read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DAY_MS = 86_400_000
# The largest Observation a reader takes (16 MiB) with its envelope.
LARGE_BYTES = 17 * 1024 * 1024

Count = Literal["partitions", "decision_partitions", "all", "one"]
Cleanup = Literal["delete", "compact"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `name` is without prefix; `schema` names the `.avsc` of its values, or is None.

    `count` says which setting gives the number of partitions ("all": the larger of the two,
    "one": 1). `merge` names the role whose canonical merge reads it and `rank` its place in
    that merge; merged topics carry ticks. `bytes_max` bounds a record set on its way.
    """

    name: str
    schema: str | None
    key: str
    count: Count
    cleanup: Cleanup
    retention_ms: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    merge: Literal["joiner", "decider"] | None = None
    rank: int = 0
    append_time: bool = False
    bytes_max: int = 1_048_588

    @property
    def ticks(self) -> bool:
        """Whether the ticker writes into it."""
        return self.merge is not None


_ALL = [
    Topic("predictions", "prediction", "request_id", "partitions", "delete", 28 * DAY_MS,
          ("client",), ("joiner", "why", "verify"), merge="joiner", rank=0),
    Topic("shadow-predictions", "shadow-prediction", "request_id", "partitions", "delete",
          28 * DAY_MS, ("client",), ("joiner", "why", "verify"), merge="joiner", rank=1),
    Topic("outcomes", "outcome", "request_id", "partitions", "delete", 28 * DAY_MS,
          ("client",), ("joiner", "why", "verify"), merge="joiner", rank=2),
    Topic("control", "control", "experiment", "decision_partitions", "delete", 400 * DAY_MS,
          ("commands", "decider"), ("decider", "client", "verify"), merge="decider", rank=0),
    Topic("applied", "applied", "experiment", "decision_partitions", "delete", 28 * DAY_MS,
          ("client",), ("decider", "commands", "verify"), merge="decider", rank=1),
    Topic("observations", "observation", "experiment", "decision_partitions", "delete",
          28 * DAY_MS, ("joiner",), ("decider", "verify"), merge="decider", rank=2,
          bytes_max=LARGE_BYTES),
    Topic("routing", "routing", "experiment/epoch/version", "decision_partitions", "compact", -1,
          ("decider",), ("client", "commands")),
    Topic("decisions", "decision", "experiment", "decision_partitions", "delete", 400 * DAY_MS,
          ("decider",), ("commands", "verify")),
    Topic("commands", "command", "experiment", "decision_partitions", "delete", 7 * DAY_MS,
          ("decider",), ("client", "commands")),
    Topic("snapshots", None, "role/partition/checkpoint/chunk", "all", "compact", -1,
          ("joiner", "decider"), ("joiner", "decider"), bytes_max=LARGE_BYTES),
    Topic("schemas", None, "schema id", "one", "compact", -1, ("joiner", "decider"),
          ("joiner", "decider", "commands", "verify")),
    # Not in the logs themselves: where retention has deleted records nothing can stand any more.
    Topic("breaks", None, "topic/partition/offset", "one", "compact", -1, ("commands",),
          ("joiner", "decider", "verify")),
    Topic("dead-letters", "dead-letter", "topic-partition", "one", "delete", 7 * DAY_MS,
          ("joiner", "decider"), ("commands",)),
    # Nobody merges it: a broker's append time on it tells the ticker how far its own clock is off.
    Topic("clock", None, "ticker", "one", "delete", DAY_MS, ("ticker",), ("ticker",),
          append_time=True),
]

TOPICS: Mapping[str, Topic] = {topic.name: topic for topic in _ALL}


def merged_topics(role: str) -> tuple[Topic, ...]:
    """Topics of a role's canonical merge, in rank order.

    >>> [topic.name for topic in merged_topics("joiner")]
    ['predictions', 'shadow-predictions', 'outcomes']
    """
    merged = (topic for topic in _ALL if topic.merge == role)
    return tuple(sorted(merged, key=lambda topic: topic.rank))


def partition_count(topic: Topic, partitions: int, decision_partitions: int) -> int:
    """Number of partitions of `topic` under the two settings."""
    return {
        "partitions": partitions,
        "decision_partitions": decision_partitions,
        "all": max(partitions, decision_partitions),
        "one": 1,
    }[topic.count]
