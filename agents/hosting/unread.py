"""Partitions that wait because a record's schema id is not known: only they, and only so long."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.agents.failstop import FailStop
from tidegate.agents.hosting.partitions import Halt, HostedPartition
from tidegate.agents.registry import Registry
from tidegate.schemas.errors import UnknownSchemaId


class Unread:
    """Drains folds; what one cannot read is asked for, and it goes on when there is an answer.

    Without a registry nothing may be unreadable, so an unknown id is a fault.
    """

    def __init__(self, registry: Registry | None, fail: FailStop) -> None:
        self._registry = registry
        self._fail = fail

    def drain(self, hosted: HostedPartition) -> None:
        """Release what may be released, up to an unknown id or the end of this worker's part."""
        if hosted.halted or hosted.unknown_id is not None:
            return
        try:
            hosted.fold.drain()
        except Halt:
            hosted.halted = True
        except UnknownSchemaId as unknown:
            if self._registry is None:
                raise
            hosted.unknown_id = unknown.schema_id
            self._registry.ask(unknown.schema_id)

    def resume(self, partitions: Mapping[int, HostedPartition]) -> None:
        """Let those go on whose id is known by now."""
        if self._registry is None:
            return
        self._registry.poll()
        for partition, hosted in partitions.items():
            if hosted.unknown_id is not None and self._registry.knows(hosted.unknown_id):
                hosted.unknown_id = None
                try:
                    self.drain(hosted)
                except Exception as error:
                    self._fail(f"partition {partition} cannot be folded", error)

    def alarms(self, partitions: Mapping[int, HostedPartition]) -> tuple[str, ...]:
        """Which partitions wait, where, and why; may be asked from any thread."""
        found = []
        for partition, hosted in sorted(dict(partitions).items()):
            schema_id = hosted.unknown_id
            if schema_id is None or self._registry is None:
                continue
            merge = hosted.fold.merge
            rank = merge.blocked_on()
            found.append(
                f"{hosted.topics[rank]}-{partition} waits at offset {merge.next_offsets[rank]} "
                f"or soon after it for schema id {schema_id}: {self._registry.answer(schema_id)}"
            )
        return tuple(found)
