"""What a peer is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from benchmarks.workload import REWARD_WAIT_MS
from tidegate.schemas.topics import merged_topics

EARLY_MS = 120_000
"""How much earlier than its prediction an outcome may be."""


@dataclass(frozen=True, slots=True)
class Job:
    """Where to read and write, and when it is done: after `events` events."""

    bootstrap: str
    prefix: str
    group: str
    output: str
    events: int
    partitions: int = 4

    @property
    def topics(self) -> tuple[str, str, str]:
        """Full names of predictions, shadow predictions, outcomes."""
        first, second, third = (self.prefix + topic.name for topic in merged_topics("joiner"))
        return first, second, third

    def environment(self) -> Mapping[str, str]:
        """For `from_environment` in another process, and for other languages."""
        names = ("bootstrap", "prefix", "group", "output", "events", "partitions")
        return {f"PEER_{name.upper()}": str(getattr(self, name)) for name in names}

    @classmethod
    def from_environment(cls) -> Self:
        """The job of this process."""
        return cls(
            os.environ["PEER_BOOTSTRAP"], os.environ["PEER_PREFIX"], os.environ["PEER_GROUP"],
            os.environ["PEER_OUTPUT"], int(os.environ["PEER_EVENTS"]),
            int(os.environ["PEER_PARTITIONS"]),
        )  # fmt: skip


def in_window(occurred_after_ms: int) -> bool:
    """Whether an event that came so long after its prediction belongs to it."""
    return -EARLY_MS <= occurred_after_ms < REWARD_WAIT_MS
