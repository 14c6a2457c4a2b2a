"""Finding the checkpoint to go on from: the highest that verifies, at the tail of the log first."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from tidegate.agents.hosting.snapshots import (
    Manifest,
    decode_manifest,
    read_key,
    unpack,
)
from tidegate.agents.kafka import Record, new_consumer, read_topic, watermarks
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError

_log = logging.getLogger(__name__)

_TAIL_RECORDS = 64
_TAIL_GROWTH = 16


@dataclass(frozen=True, slots=True)
class Restored:
    """What the log of checkpoints gave for one partition.

    `manifest` and `state` are None when there is none; `known` holds the manifests seen, lowest
    first; `conflicts` the cuts of which two different digests were seen.
    """

    manifest: Manifest | None
    state: bytes | None
    known: tuple[Manifest, ...]
    conflicts: tuple[int, ...]


class _Tail:
    """Checkpoints of one role and partition in a stretch of the log; of equal keys the last."""

    def __init__(self, role: str, partition: int) -> None:
        self._mine = (role, partition)
        self._chunks: dict[int, dict[int, bytes]] = {}
        self._manifests: dict[int, Manifest] = {}
        self.conflicts: set[int] = set()

    def take(self, record: Record) -> None:
        name = read_key(record.key)
        if name is None or name[:2] != self._mine:
            return
        released, chunk, value = name[2], name[3], record.value
        if chunk is not None:
            chunks = self._chunks.setdefault(released, {})
            if value is None:
                chunks.pop(chunk, None)
            else:
                chunks[chunk] = value
            return
        manifest = decode_manifest(value) if value is not None else None
        before = self._manifests.pop(released, None)
        if manifest is None:
            return
        self._manifests[released] = manifest
        if before and before.engine == manifest.engine and before.digest != manifest.digest:
            self.conflicts.add(released)

    def known(self) -> tuple[Manifest, ...]:
        return tuple(self._manifests[released] for released in sorted(self._manifests))

    def verified(self) -> Iterator[tuple[Manifest, bytes]]:
        """Checkpoints whose chunks and manifest agree, highest first."""
        for manifest in reversed(self.known()):
            chunks = self._chunks.get(manifest.released, {})
            present = [chunks[index] for index in range(manifest.chunks) if index in chunks]
            state = unpack(manifest, present)
            if state is None:
                _log.warning(
                    "checkpoint %s/%d at %d does not verify; an older one is tried",
                    manifest.role, manifest.partition, manifest.released,
                )  # fmt: skip
            else:
                yield manifest, state


def restore(settings: Settings, role: str, partition: int, engine: str | None) -> Restored:
    """Read the checkpoint to go on from; without an engine, whoever made it. Blocks.

    Raises:
        DefinitionError: the highest checkpoint belongs to another engine.
        Unreachable: no broker answered in time.
    """
    low, high = _ends(settings, partition)
    span = _TAIL_RECORDS
    while True:
        start = max(low, high - span)
        tail = _Tail(role, partition)
        for record in read_topic(settings, "snapshots", [partition], {partition: start}):
            tail.take(record)
        found = next(tail.verified(), None)
        if found is not None or start == low:
            break
        span *= _TAIL_GROWTH
    conflicts = tuple(sorted(tail.conflicts))
    if found is None:
        return Restored(None, None, tail.known(), conflicts)
    if engine is not None:
        check_engine(found[0], engine)
    return Restored(found[0], found[1], tail.known(), conflicts)


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
