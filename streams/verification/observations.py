"""Are observations what the joiners' input gives?"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from tidegate.schemas.errors import EventError
from tidegate.schemas.observation_head import observation_head
from tidegate.streams.verification.findings import (
    COPIES_DIFFER,
    DIFFERS,
    DIGEST_BYTES,
    MISSING,
    UNEXPECTED,
    Difference,
    Tally,
    digest,
)

_LEFT_OUT_MAX = 1_000_000


@dataclass(slots=True)
class _Track:
    """Batches of one (source partition, partition), by sequence: dense, so arrays suffice."""

    digests: bytearray = field(default_factory=bytearray)
    offsets: array[int] = field(default_factory=lambda: array("q"))
    log_times_ms: array[int] = field(default_factory=lambda: array("q"))
    derived: int = 0
    differs_at: int = -1

    def known(self, sequence: int) -> bool:
        return sequence < len(self.offsets) and self.offsets[sequence] >= 0

    def put(self, sequence: int, found: bytes, offset: int, log_time_ms: int) -> None:
        missing = sequence + 1 - len(self.offsets)
        if missing > 0:
            self.digests.extend(bytes(missing * DIGEST_BYTES))
            self.offsets.extend([-1] * missing)
            self.log_times_ms.extend([0] * missing)
        self.digests[sequence * DIGEST_BYTES : (sequence + 1) * DIGEST_BYTES] = found
        self.offsets[sequence] = offset
        self.log_times_ms[sequence] = log_time_ms

    def digest(self, sequence: int) -> bytes:
        return bytes(self.digests[sequence * DIGEST_BYTES : (sequence + 1) * DIGEST_BYTES])


class ObservationAudit:
    """Compares batches of facts, one by one.

    Feed what was recorded first, then what is derived; per source partition and partition both
    in order. Of each pair only the first difference is told: all that follows may follow from it.
    """

    def __init__(self, engine: str) -> None:
        self.tally = Tally()
        self._engine = engine
        self._tracks: dict[tuple[int, int], _Track] = {}

    def recorded(self, value: bytes, offset: int) -> None:
        """Take a record of `observations`.

        Its head says where it belongs. Its facts are held against derived bytes: what is equal to
        those is sound, and what is not is told.
        """
        self.tally.recorded += 1
        try:
            batch = observation_head(value)
        except EventError:
            self.tally.unreadable += 1
            return
        if batch.sequence > offset + _LEFT_OUT_MAX:
            # Every batch before it took an offset, though a copy of the log may lack some.
            self.tally.unreadable += 1
            return
        if batch.engine != self._engine:
            self.tally.foreign(batch.engine)
            return
        pair = (batch.source_partition, batch.partition)
        track = self._tracks.setdefault(pair, _Track())
        found = digest(value)
        if not track.known(batch.sequence):
            track.put(batch.sequence, found, offset, batch.log_time_ms)
            return
        self.tally.copies += 1
        if track.digest(batch.sequence) != found:
            self._differs(pair, batch.sequence, COPIES_DIFFER, offset, batch.log_time_ms)

    def derived(self, source_partition: int, partition: int, value: bytes) -> None:
        """Take the next batch that the logs of a source partition give."""
        self.tally.derived += 1
        pair = (source_partition, partition)
        track = self._tracks.setdefault(pair, _Track())
        sequence = track.derived
        track.derived += 1
        if sequence >= len(track.offsets):
            return
        if not track.known(sequence):
            log_time_ms = observation_head(value).log_time_ms
            self._differs(pair, sequence, MISSING, -1, log_time_ms)
        elif track.digest(sequence) == digest(value):
            self.tally.equal += 1
        else:
            self._differs(
                pair, sequence, DIFFERS, track.offsets[sequence], track.log_times_ms[sequence]
            )

    def finish(self, source_partition: int) -> None:
        """The logs of a source partition are at their end."""
        for (source, partition), track in sorted(self._tracks.items()):
            beyond = track.derived
            if source == source_partition and beyond < len(track.offsets):
                self._differs(
                    (source, partition), beyond, UNEXPECTED,
                    track.offsets[beyond], track.log_times_ms[beyond],
                )  # fmt: skip

    def _differs(
        self, pair: tuple[int, int], sequence: int, what: str, offset: int, log_time_ms: int
    ) -> None:
        track = self._tracks[pair]
        if track.differs_at >= 0:
            return
        track.differs_at = sequence
        source, partition = pair
        name = f"source {source}, sequence {sequence}"
        self.tally.differences.append(
            Difference("observations", partition, name, what, offset, log_time_ms, source, sequence)
        )
