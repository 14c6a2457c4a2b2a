"""One partition of a role while this worker owns it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tidegate.agents.breaks import recorded_breaks
from tidegate.agents.hosting.pins import check_ids, read_pins
from tidegate.agents.hosting.restore import REMEDY, Restored
from tidegate.agents.kafka import new_consumer, watermarks
from tidegate.agents.settings import Settings
from tidegate.agents.transport.flow import TopicPartition
from tidegate.schemas.breaks import Gaps, follow, gaps_of
from tidegate.schemas.errors import DefinitionError, EventError
from tidegate.schemas.topics import TOPICS, merged_topics
from tidegate.streams.folding import PartitionFold, Segmented


class Halt(Exception):
    """Ends a drain at the cut it stands at: what follows is released by another process."""


@dataclass(frozen=True, slots=True)
class Watermarks:
    """What the logs of a partition index hold, by rank: oldest offsets, ends, accepted losses.

    `topic_ids` are Kafka's own, empty where the broker tells none.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    gaps: Mapping[int, Gaps] = field(default_factory=dict)
    topic_ids: tuple[str, ...] = ()


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


class Taken(NamedTuple):
    """A partition that was read from its checkpoint, and what the topic holds of it."""

    hosted: HostedPartition
    restored: Restored
    topic_ids: tuple[str, ...]


def whole_indexes(
    assigned: Collection[TopicPartition], topics: tuple[str, ...], role: str
) -> list[int]:
    """Partition indexes that were assigned, ascending.

    Raises:
        DefinitionError: one was assigned without some of its topics.
    """
    owned: dict[int, set[str]] = {}
    for topic, partition in assigned:
        owned.setdefault(partition, set()).add(topic)
    for partition in sorted(owned):
        missing = sorted(set(topics) - owned[partition])
        if missing:
            raise DefinitionError(
                f"partition {partition} was assigned without {', '.join(missing)}: all workers "
                f"of the role {role} must subscribe to the same topics with the same "
                "number of partitions; run `tidegate topics check`"
            )
    return sorted(owned)


def read_watermarks(settings: Settings, role: str, partition: int) -> Watermarks:
    """Ask the broker what the logs of a partition index hold. Blocks; made for a thread.

    Raises:
        Unreachable: no broker answered in time.
        DefinitionError: what is accepted as lost contradicts itself, or a topic is gone.
    """
    consumer = new_consumer(settings)
    try:
        pairs = [
            watermarks(settings, consumer, topic.name, [partition])[partition]
            for topic in merged_topics(role)
        ]
    finally:
        consumer.close()
    breaks = recorded_breaks(settings)
    gaps = {
        rank: gaps_of(breaks, topic.name, partition)
        for rank, topic in enumerate(merged_topics(role))
    }
    low, high = tuple(low for low, _ in pairs), tuple(high for _, high in pairs)
    return Watermarks(low, high, gaps, tuple(pin.topic_id for pin in read_pins(settings, role)))


def place(
    fold: PartitionFold, topics: tuple[str, ...], restored: Restored, held: Watermarks
) -> None:
    """Put a new fold where it goes on: at its checkpoint, or where the logs begin.

    What is accepted as lost is passed over; a fold without state needs nothing before its logs.

    Raises:
        DefinitionError: the logs no longer hold what comes after the checkpoint, or never did;
            no checkpoint is whole, and they no longer hold what would take its place; or the state
            is that of a version that this one cannot follow.
    """
    fold.accept({rank: gaps for rank, gaps in held.gaps.items() if gaps})
    if restored.manifest is not None and restored.state is not None:
        check_ids(restored.manifest, topics, held.topic_ids)
        check_positions(restored.manifest.next_offsets, topics, fold.partition, held)
        try:
            fold.load(restored.state, restored.segments)
        except (EventError, KeyError, TypeError, ValueError) as error:
            raise DefinitionError(
                f"the state of partition {fold.partition} was made by engine"
                f" {restored.manifest.engine}, and this version cannot read it ({error!r:.100}):"
                " start the version that made it"
            ) from error
    elif restored.known and any(held.low):
        newest = restored.known[-1]
        raise DefinitionError(
            f"partition {fold.partition} of the {newest.role} has checkpoints, the newest at"
            f" {newest.released} records, but none is whole: chunks or segments are missing in the"
            " topic snapshots, or have changed. Its logs begin later by now, so it cannot be made"
            " anew from them, and what it wrote would be numbered from 0 again, which readers drop."
            f" {REMEDY}",
            tuple(
                f"{topic}-{fold.partition} begins at offset {low}"
                for topic, low in zip(topics, held.low, strict=True)
                if low
            ),
        )
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
    for rank, topic in enumerate(topics):
        position = follow(held.gaps.get(rank, {}), next_offsets[rank])
        low, high = held.low[rank], held.high[rank]
        if position < low:
            faults.append(
                f"{topic}-{partition}: the checkpoint needs offset {position}, retention has "
                f"deleted everything before {low}; {low - position} records were never counted. "
                f"Accept it with {skip_command(topic, partition, position, low)}"
            )
        elif position > high:
            faults.append(
                f"{topic}-{partition}: the checkpoint stands at offset {position}, the log ends "
                f"at {high}; the topic was made anew, or its end was lost"
            )
    if faults:
        raise DefinitionError(
            f"partition {partition} cannot go on from its checkpoint: its logs and the checkpoint "
            "do not belong together. Restore the topics, accept what can be accepted, or start "
            "with empty ones under another `prefix`",
            tuple(faults),
        )


def skipped_offsets(fold: PartitionFold) -> list[int]:
    """How many offsets were passed over as accepted losses so far, by rank."""
    return [
        sum(
            int(gap.arguments["end"]) - begin
            for begin, gap in fold.gaps.get(rank, {}).items()
            if begin < position
        )
        for rank, position in enumerate(fold.merge.next_offsets)
    ]


def skip_command(topic: str, partition: int, begin: int, end: int) -> str:
    """The command that accepts a loss; `topic` is the full name."""
    name = next(name for name in sorted(TOPICS, key=len) if topic.endswith(name))
    return (
        f"`tidegate mark skip --topic {name} --partition {partition} --from {begin} --to {end} "
        "--reason ...`"
    )
