"""Finding the checkpoint to go on from: the highest that verifies, at the tail of the log first."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tidegate.agents.hosting.snapshots import (
    Manifest,
    Segment,
    decode_manifest,
    read_key,
    read_segment_key,
    segment_keys,
    state_keys,
    unpack,
    unpack_segment,
)
from tidegate.agents.kafka import Record, new_consumer, read_topic, watermarks
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError

_log = logging.getLogger(__name__)

REMEDY = (
    "Restore that topic, for example from a mirror of it, or start with empty topics under another"
    " `prefix`"
)
"""What helps where states are gone."""
_TAIL_RECORDS = 64
_TAIL_GROWTH = 4


class Segments(Iterable[bytes]):
    """Contents of segments that verify, in order; packed until they are asked for."""

    def __init__(self, packed: Sequence[tuple[Segment, list[bytes]]] = ()) -> None:
        self._packed = packed

    def __iter__(self) -> Iterator[bytes]:
        """Each content in turn."""
        for segment, chunks in self._packed:
            content = unpack_segment(segment, chunks)
            if content is None:
                raise ValueError(f"segment {segment.digest} has changed")
            yield content


@dataclass(frozen=True, slots=True)
class Restored:
    """What the log of checkpoints gave for one partition.

    `manifest` and `state` are None when there is none that verifies; `known` holds the manifests
    seen, lowest first; `conflicts` the cuts of which two different digests were seen; `strays`
    segments that no manifest refers to.
    """

    manifest: Manifest | None
    state: bytes | None
    known: tuple[Manifest, ...]
    conflicts: tuple[int, ...]
    segments: Iterable[bytes] = ()
    strays: tuple[Segment, ...] = ()


class Tail:
    """Checkpoints of one role and partition in a stretch of the log; of equal keys the last.

    `reaches_back` says that nothing comes before: what is missing then is not to be found.
    """

    def __init__(self, role: str, partition: int, reaches_back: bool = True) -> None:
        self._mine = (role, partition)
        self._chunks: dict[bytes, bytes | None] = {}
        self._manifests: dict[int, Manifest | None] = {}
        self._foreign: set[int] = set()
        self.reaches_back = reaches_back
        self.conflicts: set[int] = set()

    def take(self, record: Record) -> None:
        """Take the next record of the log."""
        key, value = record.key or b"", record.value
        name = read_key(key) or read_segment_key(key)
        if name is None or name[:2] != self._mine:
            return
        if len(name) == 5 or name[3] is not None:
            self._chunks[key] = value
            return
        manifest = decode_manifest(value) if value is not None else None
        self._announced(name[2], manifest, value is not None and manifest is None)

    def follow(self, later: Tail) -> None:
        """Take what a later stretch of the log holds."""
        self._chunks |= later._chunks
        self.conflicts |= later.conflicts
        for released, manifest in later._manifests.items():
            self._announced(released, manifest, released in later._foreign)

    def _announced(self, released: int, manifest: Manifest | None, is_foreign: bool) -> None:
        before = self._manifests.get(released)
        self._manifests[released] = manifest
        if is_foreign:
            self._foreign.add(released)
        else:
            self._foreign.discard(released)
        if manifest is None or before is None:
            return
        if before.engine == manifest.engine and before.digest != manifest.digest:
            self.conflicts.add(released)

    def known(self) -> tuple[Manifest, ...]:
        """The manifests, lowest first."""
        found = (self._manifests[released] for released in sorted(self._manifests))
        return tuple(manifest for manifest in found if manifest is not None)

    def foreign(self) -> tuple[int, ...]:
        """Cuts whose manifests are not of this version's form: there is a state, of others."""
        return tuple(sorted(self._foreign))

    def strays(self) -> tuple[Segment, ...]:
        """Segments that no manifest refers to."""
        known = {segment.digest for manifest in self.known() for segment in manifest.segments}
        chunks: dict[tuple[int, str], int] = {}
        for key, value in self._chunks.items():
            name = read_segment_key(key)
            if name is not None and value is not None and name[3] not in known:
                chunks[name[2:4]] = max(chunks.get(name[2:4], 0), name[4] + 1)
        return tuple(Segment(*name, count) for name, count in sorted(chunks.items()))

    def highest(self) -> tuple[Manifest, bytes, Segments] | None:
        """The highest checkpoint that verifies.

        None also where a higher one may verify once more of the log is read.
        """
        for manifest in reversed(self.known()):
            if not self.reaches_back and self._lacks(manifest):
                return None
            found = self._verified(manifest)
            if found is not None:
                return manifest, *found
            _log.warning(
                "checkpoint %s/%d at %d does not verify; an older one is tried",
                manifest.role, manifest.partition, manifest.released,
            )  # fmt: skip
        return None

    def _lacks(self, manifest: Manifest) -> bool:
        role, partition = self._mine
        keys = state_keys(manifest)
        for segment in manifest.segments:
            keys += segment_keys(role, partition, segment)
        return any(key not in self._chunks for key in keys)

    def _verified(self, manifest: Manifest) -> tuple[bytes, Segments] | None:
        role, partition = self._mine
        state = unpack(manifest, self._present(state_keys(manifest)))
        if state is None:
            return None
        packed = []
        for segment in manifest.segments:
            chunks = self._present(segment_keys(role, partition, segment))
            if unpack_segment(segment, chunks) is None:
                return None
            packed.append((segment, chunks))
        return state, Segments(packed)

    def _present(self, keys: Iterable[bytes]) -> list[bytes]:
        found = (self._chunks.get(key) for key in keys)
        return [chunk for chunk in found if chunk is not None]


def restore(settings: Settings, role: str, partition: int, engine: str | None) -> Restored:
    """Read the checkpoint to go on from; without an engine, whoever made it. Blocks.

    Raises:
        DefinitionError: the highest checkpoint belongs to another engine or version.
        Unreachable: no broker answered in time.
    """
    low, high = _ends(settings, partition)
    span, stop = _TAIL_RECORDS, high
    tail = Tail(role, partition)
    while True:
        start = max(low, high - span)
        earlier = Tail(role, partition, reaches_back=start == low)
        for record in read_topic(
            settings, "snapshots", [partition], {partition: start}, {partition: stop}
        ):
            earlier.take(record)
        earlier.follow(tail)
        tail = earlier
        found = tail.highest()
        if found is not None or tail.reaches_back:
            break
        span, stop = span * _TAIL_GROWTH, start
    conflicts = tuple(sorted(tail.conflicts))
    if found is None:
        if engine is not None:
            _require_own(role, partition, tail, engine)
        return Restored(None, None, tail.known(), conflicts)
    manifest, state, segments = found
    if engine is not None:
        check_engine(manifest, engine)
    return Restored(manifest, state, tail.known(), conflicts, segments, tail.strays())


def _require_own(role: str, partition: int, tail: Tail, engine: str) -> None:
    """Refuse to begin anew where others have gone on under numbers that would be used again.

    What this engine wrote it writes again byte for byte, as long as its logs are there from the
    beginning; that is for others to look at.
    """
    known, foreign = tail.known(), tail.foreign()
    if foreign and (not known or foreign[-1] > known[-1].released):
        raise DefinitionError(
            f"checkpoint {role}/{partition} at {foreign[-1]} records was made by another version of"
            " Tidegate, whose checkpoints this one cannot read; to begin anew would write other"
            " contents under numbers already used. Go on with the version that made it until its"
            " releases have ended, then start this one with empty topics under another `prefix`"
        )
    if known:
        check_engine(known[-1], engine)
    if known and known[-1].engine != engine:
        raise DefinitionError(
            f"checkpoint {role}/{partition} at {known[-1].released} records was left for this"
            f" engine, {engine}, but it is not whole: chunks or segments of it are missing in the"
            f" topic snapshots, or have changed. {REMEDY}"
        )


def check_engine(manifest: Manifest, engine: str) -> None:
    """Refuse a state that another engine made, unless it was left for this one at a barrier.

    A state this engine left for another one is not refused: its partition is parked, and the
    worker goes on with the partitions that have not met the barrier yet.

    Raises:
        DefinitionError: which engine made it, which one this is, what to do.
    """
    if engine in (manifest.engine, manifest.barrier):
        return
    where = f"{manifest.role}/{manifest.partition} at {manifest.released} records"
    raise DefinitionError(
        f"checkpoint {where} was made by engine {manifest.engine}, this worker is engine {engine}: "
        "its outputs could differ from those already written under the same numbers. Start the "
        f"version that made it, and let it stop at an engine barrier for {engine}"
    )


def _ends(settings: Settings, partition: int) -> tuple[int, int]:
    consumer = new_consumer(settings)
    try:
        return watermarks(settings, consumer, "snapshots", [partition])[partition]
    finally:
        consumer.close()
