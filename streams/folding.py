"""A fold over the canonical merge: the shape the joiner and the decider share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tidegate.schemas.breaks import Gaps
from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.errors import UnknownSchemaId
from tidegate.schemas.marks import Marker
from tidegate.streams.merge import Fetched, Merge, Run

CUT_RECORDS = 100_000
"""Inside one interval a cut comes after this many records: an interval may last for hours."""

SEGMENT_RECORDS = 50_000
"""After so many records, what a handler keeps in segments is sealed at the next cut, if half as
many changes are still needed: a small state is written whole."""


class Handler(Protocol):
    """The pure part of an agent: what it makes of records in canonical order.

    All it may depend on is the order of these calls and their arguments.
    """

    def advance(self, log_time_ms: int) -> None:
        """An interval is complete and time moves to `log_time_ms`: timers fire."""

    def records(self, run: Run) -> None:
        """Take the next records."""

    def marker(self, rank: int, offset: int, marker: Marker) -> None:
        """A marker stands here in the order."""

    def dump(self) -> bytes:
        """The whole state; equal states give equal bytes."""

    def load(self, state: bytes) -> None:
        """Become what `dump` told."""

    def counters(self) -> dict[str, int]:
        """Counts since the log's beginning, for metrics and conservation.

        Named `stream.class`, of a variant `experiment/generation/variant/stream.class`.
        """


@runtime_checkable
class Segmented(Handler, Protocol):
    """A handler whose state is too large to be written whole each time.

    A part of it is in segments: bytes that never change, and a function of the canonical order
    alone, like all the rest.
    """

    @property
    def segments(self) -> tuple[str, ...]:
        """SHA-256 (hex) of the sealed segments that the state needs, in order."""

    @property
    def unsealed(self) -> int:
        """How many changes since the last time are still needed."""

    def seal(self) -> Mapping[str, bytes]:
        """What came since the last time, as segments by digest; `dump` tells it no more."""

    def load(self, state: bytes, segments: Iterable[bytes] = ()) -> None:
        """Become what `dump` told, with the contents of all segments, in order."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a partition's fold at a cut; `released` names it.

    `state` and the segments with these digests are all of it. `barrier` is the engine named by the
    barrier marker that forced it, else empty.
    """

    partition: int
    released: int
    next_offsets: tuple[int, ...]
    log_times_ms: tuple[int, ...]
    state: bytes
    barrier: str
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sealed:
    """Segments of a partition, by digest, that were sealed at the cut behind `released` records."""

    partition: int
    released: int
    contents: Mapping[str, bytes]


class PartitionFold:
    """Merge and handler of one partition index.

    Cuts are where checkpoints may be taken: before released log time rises, and every
    `CUT_RECORDS` records inside one interval. They are functions of the canonical order alone,
    so two workers at the same cut have the same bytes.
    """

    def __init__(
        self,
        partition: int,
        ranks: int,
        handler: Handler,
        on_checkpoint: Callable[[Checkpoint], None] | None = None,
        checkpoint_records: int = 300_000,
        on_sealed: Callable[[Sealed], None] | None = None,
    ) -> None:
        self.partition = partition
        self.handler = handler
        self._segmented = handler if isinstance(handler, Segmented) else None
        self.gaps: Mapping[int, Gaps] = {}
        self.merge = Merge([0] * ranks, [0] * ranks)
        self.released = 0
        self.log_time_ms = 0
        self._on_checkpoint = on_checkpoint
        self._on_sealed = on_sealed
        self._sealed_at = 0
        self._checkpoint_records = checkpoint_records
        self._interval_records = 0
        self._checkpointed = 0
        self._requested = False
        self._barrier = ""

    def feed(self, rank: int, fetched: Fetched) -> None:
        """Buffer a fetch of the topic of `rank`.

        Raises:
            LogGap: records are missing before it.
        """
        self.merge.feed(rank, fetched)

    def start_at(self, next_offsets: tuple[int, ...]) -> None:
        """Begin, without state, at other offsets than 0 (the oldest the logs still hold)."""
        self.merge = Merge(next_offsets, [0] * len(next_offsets), None, self.gaps)

    def accept(self, gaps: Mapping[int, Gaps]) -> None:
        """What is accepted as lost, by rank; to be told before anything is loaded or fed."""
        self.gaps = gaps
        self.start_at(tuple(self.merge.next_offsets))

    def drain(self) -> int:
        """Release all that may be released; returns how many records that were.

        Raises:
            UnknownSchemaId: a run holds a record that nobody can read yet. The run is taken back
                whole; once the id is bound, drain again: it is as if nothing had happened.
        """
        before = self.released
        merge, handler = self.merge, self.handler
        while (head := merge.head()) is not None:
            rank, segment = head
            if segment.log_time_ms > self.log_time_ms:
                self._cut()
                self.log_time_ms = segment.log_time_ms
                self._interval_records = 0
                handler.advance(self.log_time_ms)
            offset = merge.next_offsets[rank]
            count, marker, run = merge.release(rank, CUT_RECORDS - self._interval_records)
            if marker is not None:
                if marker.kind == "barrier":
                    self._barrier = marker.arguments.get("engine", "unnamed")
                handler.marker(rank, offset, marker)
            if run is not None:
                try:
                    handler.records(run)
                except UnknownSchemaId:
                    merge.put_back(run)
                    self._count(count - (run.stop - run.start))
                    raise
            self._count(count)
            if self._interval_records == CUT_RECORDS:
                self._interval_records = 0
                self._cut()
        return self.released - before

    def request_checkpoint(self) -> None:
        """Take a checkpoint at the next cut."""
        self._requested = True

    def dump(self) -> bytes:
        """Positions and the handler's state but for what is in segments.

        What is buffered is not state: it is fetched again.
        """
        position = {
            "released": self.released,
            "log_time_ms": self.log_time_ms,
            "interval_records": self._interval_records,
            "sealed_at": self._sealed_at,
            "next_offsets": self.merge.next_offsets,
            "log_times_ms": self.merge.log_times_ms,
            "jumps_ms": self.merge.jumps_ms,
        }
        head = canonical_json(position).encode()
        return len(head).to_bytes(4, "little") + head + self.handler.dump()

    def seal(self, segmented: Segmented) -> None:
        """Let the handler seal segments, and hand them on."""
        contents = segmented.seal()
        if self._on_sealed is not None and contents:
            self._on_sealed(Sealed(self.partition, self.released, contents))

    def load(self, state: bytes, segments: Iterable[bytes] = ()) -> None:
        """Become what `dump` told, with the contents of its segments.

        The fetch goes on at `merge.fetch_offsets`.
        """
        end = 4 + int.from_bytes(state[:4], "little")
        position = json.loads(state[4:end])
        self.merge = Merge(
            position["next_offsets"], position["log_times_ms"], position["jumps_ms"], self.gaps
        )
        self.released = self._checkpointed = position["released"]
        self.log_time_ms = position["log_time_ms"]
        self._interval_records = position["interval_records"]
        self._sealed_at = position["sealed_at"]
        if self._segmented is not None:
            self._segmented.load(state[end:], segments)
        else:
            self.handler.load(state[end:])

    def _count(self, released: int) -> None:
        self.released += released
        self._interval_records += released

    def _cut(self) -> None:
        if self._segmented is not None and self.released - self._sealed_at >= SEGMENT_RECORDS:
            self._sealed_at = self.released
            if 2 * self._segmented.unsealed >= SEGMENT_RECORDS:
                self.seal(self._segmented)
        due = self.released - self._checkpointed >= self._checkpoint_records
        if self._on_checkpoint is None or not (due or self._requested or self._barrier):
            return
        checkpoint = Checkpoint(
            partition=self.partition,
            released=self.released,
            next_offsets=tuple(self.merge.next_offsets),
            log_times_ms=tuple(self.merge.log_times_ms),
            state=self.dump(),
            barrier=self._barrier,
            segments=() if self._segmented is None else self._segmented.segments,
        )
        self._checkpointed, self._requested, self._barrier = self.released, False, ""
        self._on_checkpoint(checkpoint)
