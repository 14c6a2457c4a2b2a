"""One partition of a role while this worker owns it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tidegate.agents.hosting.restore import Restored
from tidegate.agents.kafka import new_consumer, watermarks
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.topics import merged_topics
from tidegate.streams.folding import PartitionFold, Segmented


class Halt(Exception):
    """Ends a drain at the cut it stands at: what follows is released by another process."""


@dataclass(frozen=True, slots=True)
class Watermarks:
    """What the logs of a partition index hold: oldest offsets, and the ends, by rank."""

    low: tuple[int, ...]
    high: tuple[int, ...]


class TimedFold(PartitionFold):
    """A fold that tells `paused` how long writing its state down stopped everything else, in
    seconds."""

    def __init__(self, *arguments: Any) -> None:
        self.paused: Callable[[float], None] = _nobody_asks
        super().__init__(*arguments)

    def dump(self) -> bytes:
        """The state, timed."""
        began = time.perf_counter()
        state = super().dump()
        self.paused(time.perf_counter() - began)
        return state

    def seal(self, segmented: Segmented) -> None:
        """Let the handler seal segments, timed."""
        began = time.perf_counter()
        super().seal(segmented)
        self.paused(time.perf_counter() - began)


def _nobody_asks(seconds: float) -> None:
    """What stands there before a host does."""


@dataclass(slots=True)
class HostedPartition:
    """A fold, and what its host has to know about it.

    `ends` is where the logs ended when the partition came here: past them it is live. `saved` is
    how many records the last checkpoint covers. A halted partition takes nothing more; `parked`
    says it waits for the engine a barrier named; `unknown_id` is the schema id of a record that
    cannot be read yet.
    """

    fold: TimedFold
    topics: tuple[str, ...]
    ends: tuple[int, ...]
    checkpointed_at: float
    saved: int = 0
    live: bool = False
    halted: bool = False
    unknown_id: int | None = None
    parked: str = ""
    fed: int = 0

    @property
    def unsaved(self) -> int:
        """Records released since the last checkpoint."""
        return self.fold.released - self.saved

    def catch_up(self) -> bool:
        """Whether the partition became live just now."""
        offsets = self.fold.merge.fetch_offsets
        if self.live or any(at < end for at, end in zip(offsets, self.ends, strict=True)):
            return False
        self.live = True
        return True


def read_watermarks(settings: Settings, role: str, partition: int) -> Watermarks:
    """Ask the broker what the logs of a partition index hold. Blocks; made for a thread.

    Raises:
        Unreachable: no broker answered in time.
    """
    consumer = new_consumer(settings)
    try:
        pairs = [
            watermarks(settings, consumer, topic.name, [partition])[partition]
            for topic in merged_topics(role)
        ]
    finally:
        consumer.close()
    return Watermarks(tuple(low for low, _ in pairs), tuple(high for _, high in pairs))


def place(
    fold: PartitionFold, topics: tuple[str, ...], restored: Restored, held: Watermarks
) -> None:
    """Put a new fold where it goes on: at its checkpoint, or where the logs begin.

    Raises:
        DefinitionError: the logs no longer hold what comes after the checkpoint, or never did.
    """
    if restored.manifest is not None and restored.state is not None:
        check_positions(restored.manifest.next_offsets, topics, fold.partition, held)
        fold.load(restored.state, restored.segments)
    elif any(held.low):
        fold.start_at(held.low)


def check_positions(
    next_offsets: tuple[int, ...],
    topics: tuple[str, ...],
    partition: int,
    held: Watermarks,
) -> None:
    """Refuse to go on where records are missing.

    Raises:
        DefinitionError: which log, which offsets, and what it means.
    """
    if len(next_offsets) != len(topics):
        raise DefinitionError(
            f"the checkpoint of partition {partition} merges {len(next_offsets)} topics, this "
            f"version merges {len(topics)}: start the version that made it"
        )
    faults = []
    for topic, position, low, high in zip(topics, next_offsets, held.low, held.high, strict=True):
        if position < low:
            faults.append(
                f"{topic}-{partition}: the checkpoint needs offset {position}, retention has "
                f"deleted everything before {low}; {low - position} records were never counted"
            )
        elif position > high:
            faults.append(
                f"{topic}-{partition}: the checkpoint stands at offset {position}, the log ends "
                f"at {high}; the topic was made anew, or its end was lost"
            )
    if faults:
        raise DefinitionError(
            f"partition {partition} cannot go on from its checkpoint: its logs and the checkpoint "
            "do not belong together. Restore the topics, or start with empty ones under another "
            "`prefix`",
            tuple(faults),
        )
