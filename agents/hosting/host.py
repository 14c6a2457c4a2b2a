"""The host of the folds: owns their partitions, feeds them, and decides when to checkpoint."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tidegate.agents.failstop import FailStop, fail_stop
from tidegate.agents.hosting.checkpoints import Checkpoints
from tidegate.agents.hosting.heap import give_back
from tidegate.agents.hosting.partitions import (
    Halt,
    HostedPartition,
    Taken,
    TimedFold,
    place,
    read_watermarks,
    whole_indexes,
)
from tidegate.agents.hosting.publisher import Publisher
from tidegate.agents.hosting.restore import restore
from tidegate.agents.hosting.statistics import HostStatistics
from tidegate.agents.hosting.unread import Unread
from tidegate.agents.registry import Registry
from tidegate.agents.settings import Settings
from tidegate.agents.transport.flow import TopicPartition
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.partitioner import partition_of
from tidegate.schemas.topics import merged_topics
from tidegate.streams.folding import Checkpoint, Handler
from tidegate.streams.merge import Fetched
from tidegate.streams.output import Emit

_log = logging.getLogger(__name__)

HandlerFactory = Callable[[int, Emit], Handler]
"""(partition, where to emit) -> the pure part of an agent."""

_RESTORE_THREADS = 2
_CAUGHT_UP_SHARE = 10
"""A backlog of this part of the records between checkpoints is worth one when it is over."""


class Host:
    """Flow of one role (`transport.flow.Flow`); used from the worker's event loop only.

    A batch is processed from receipt to acknowledgement without an await: a rebalance can never
    split it.
    """

    def __init__(
        self,
        settings: Settings,
        role: str,
        engine: str,
        *,
        make_handler: HandlerFactory,
        publisher: Publisher,
        checkpoints: Checkpoints,
        registry: Registry | None = None,
        fail: FailStop = fail_stop,
    ) -> None:
        merged = merged_topics(role)
        self._settings = settings
        self._role = role
        self._engine = engine
        self._make_handler = make_handler
        self._publisher = publisher
        self._checkpoints = checkpoints
        self._fail = fail
        self.unread = Unread(registry, fail)
        self._topics = tuple(settings.topic(topic.name) for topic in merged)
        self._ranks = {name: rank for rank, name in enumerate(self._topics)}
        # Observations hold many experiments and heartbeats go everywhere: explicit partitions.
        explicit = (settings.topic("observations"), settings.topic("applied"))
        self._keyed = {name for name in self._topics if name not in explicit}
        self._count = settings.partition_count(merged[0])
        self._partitions: dict[int, HostedPartition] = {}
        self._stopping = False
        self._parking: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(_RESTORE_THREADS, thread_name_prefix="tidegate-restore")
        self.high_water = settings.buffered_records
        self.low_water = settings.buffered_records // 4
        self.statistics = HostStatistics()

    @property
    def topics(self) -> tuple[str, ...]:
        """Full names of the merged topics, in rank order."""
        return self._topics

    @property
    def partitions(self) -> Mapping[int, HostedPartition]:
        """What this worker owns now."""
        return self._partitions

    def want(self, topic: str, partition: int, in_flight: int) -> bool:
        """Whether more records of this topic-partition may be fetched now."""
        hosted = self._partitions.get(partition)
        if hosted is None or hosted.halted or self._publisher.crowded or self._checkpoints.crowded:
            return False
        return hosted.fold.merge.buffered(self._ranks[topic]) + in_flight < self.high_water

    def buffered(self, topic: str, partition: int) -> int:
        """Records fed and not yet released."""
        hosted = self._partitions.get(partition)
        return hosted.fold.merge.buffered(self._ranks[topic]) if hosted else 0

    def after(self, topic: str, partition: int, offset: int) -> int:
        """Where the log goes on when `offset` is next: behind what is accepted as lost there."""
        hosted = self._partitions.get(partition)
        return hosted.fold.merge.after(self._ranks[topic], offset) if hosted else offset

    def feed(self, topic: str, partition: int, fetched: Fetched) -> None:
        """Feed, drain, and let outputs go out. A fetch of a partition that is gone is nothing."""
        hosted = self._partitions.get(partition)
        if hosted is None or hosted.halted:
            return
        hosted.fold.feed(self._ranks[topic], fetched)
        hosted.fed += len(fetched.values)
        self.unread.drain(hosted)
        self._publisher.poll()
        if hosted.catch_up():
            _log.info("live", extra={"partition": partition, "released": hosted.fold.released})
            if hosted.unsaved >= self._settings.checkpoint_records // _CAUGHT_UP_SHARE:
                # Killed now, it would have to catch up with the same records once more.
                hosted.fold.request_checkpoint()

    def sample(self, topic: str, partition: int, key: bytes) -> None:
        """Check who partitioned: a foreign partitioner fails silently, as pairs that never meet."""
        if topic not in self._keyed:
            return
        self.statistics.sampled_keys += 1
        wanted = partition_of(key, self._count)
        if wanted == partition:
            return
        misplaced = self.statistics.misplaced
        misplaced[topic] = misplaced.get(topic, 0) + 1
        if misplaced[topic] == 1:
            _log.error(
                "a record of %s-%d belongs to partition %d: its producer does not use "
                "partitioner=murmur2_random, and what it sends will not be joined",
                topic, partition, wanted,
            )  # fmt: skip

    async def assign(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Own exactly `partitions`: keep what is here, restore what is new, drop the rest."""
        try:
            return await self._assign(partitions)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail("partitions could not be taken over", error)

    async def _assign(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        mine = whole_indexes(partitions, self._topics, self._role)
        for partition in [kept for kept in self._partitions if kept not in mine]:
            # Determinism makes memory as good as a checkpoint; what left may have moved on.
            del self._partitions[partition]
        new = [partition for partition in mine if partition not in self._partitions]
        loop = asyncio.get_running_loop()
        loaded = [loop.run_in_executor(self._threads, self._load, partition) for partition in new]
        for partition, taken in zip(new, await asyncio.gather(*loaded), strict=True):
            # Here, not in the threads: one whose take-over was given up meanwhile may end late, and
            # must not write over what the partition's next take-over has found.
            self._adopt(partition, taken)
        if new:
            # What was restored lives long: the collector need not look at it again.
            gc.collect()
            gc.freeze()
        self._stop_when_all_parked()
        return {
            (topic, partition): self._partitions[partition].fold.merge.fetch_offsets[rank]
            for partition in mine
            for rank, topic in enumerate(self._topics)
        }

    def _adopt(self, partition: int, taken: Taken) -> None:
        self._checkpoints.adopt(partition, taken.restored, taken.topic_ids)
        self.statistics.restored += taken.restored.manifest is not None
        self._partitions[partition] = taken.hosted

    def _load(self, partition: int) -> Taken:
        """Everything that takes long, in a thread; nothing of it shows before it is adopted."""
        began = time.monotonic()
        restored = restore(self._settings, self._role, partition, self._engine)
        held = read_watermarks(self._settings, self._role, partition)

        handler = self._make_handler(partition, partial(self._publisher.emit, partition))
        fold = TimedFold(
            partition,
            len(self._topics),
            handler,
            self._on_checkpoint,
            self._staggered_records(partition),
            self._checkpoints.keep,
        )
        fold.paused = self.statistics.paused
        place(fold, self._topics, restored, held)
        give_back()
        hosted = HostedPartition(
            fold, self._topics, held.high, self._staggered_start(partition), saved=fold.released
        )
        manifest = restored.manifest
        if manifest is not None and manifest.barrier not in ("", self._engine):
            hosted.parked, hosted.halted = manifest.barrier, True
        _log.info(
            "partition taken over",
            extra={
                "partition": partition,
                "released": fold.released,
                "behind": sum(held.high) - sum(fold.merge.fetch_offsets),
                "state_bytes": len(restored.state or b""),
                "segments": len(manifest.segments) if manifest is not None else 0,
                "seconds": round(time.monotonic() - began, 3),
            },
        )
        return Taken(hosted, restored, held.topic_ids)

    # -- checkpoints

    def _on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """At a cut, inside a drain: the dump is made; everything else happens beside the work."""
        hosted = self._partitions[checkpoint.partition]
        foreign = checkpoint.barrier not in ("", self._engine)
        if self._stopping or foreign:
            self._checkpoints.take(checkpoint)
            hosted.parked = checkpoint.barrier if foreign else ""
            raise Halt
        if self._checkpoints.busy(checkpoint.partition):
            # Asking again at once would dump at every cut until the one before is written.
            return
        hosted.checkpointed_at, hosted.saved = time.monotonic(), checkpoint.released
        self._checkpoints.take(checkpoint)

    def keep_house(self) -> None:
        """To be called some fifty times a second: reports, and checkpoints due by time."""
        self._publisher.poll()
        self._checkpoints.poll()
        self.unread.resume(self._partitions)
        now = time.monotonic()
        for partition, hosted in self._partitions.items():
            overdue = now - hosted.checkpointed_at > self._settings.checkpoint_seconds
            if overdue and not self._checkpoints.busy(partition):
                hosted.checkpointed_at = now
                hosted.fold.request_checkpoint()
        self._stop_when_all_parked()

    async def settle(self, timeout_seconds: float) -> bool:
        """Halt every partition at its next cut, checkpointed there; whether all came to that.

        Behind such a checkpoint nothing was emitted, so the next owner repeats nothing.
        """
        self._stopping = True
        for hosted in self._partitions.values():
            hosted.fold.request_checkpoint()
        deadline = time.monotonic() + timeout_seconds
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + timeout_seconds):
                while not all(hosted.halted for hosted in self._partitions.values()):
                    await asyncio.sleep(0.01)
                await self._checkpoints.settle()
        except TimeoutError:
            return False
        return self._publisher.flush(max(0.0, deadline - time.monotonic())) == 0

    def _stop_when_all_parked(self) -> None:
        parked = {hosted.parked for hosted in self._partitions.values()}
        if not parked or "" in parked or self._stopping:
            return
        self._stopping = True
        self._parking = asyncio.get_running_loop().create_task(
            self._stop_at_barrier(sorted(parked))
        )

    async def parking(self) -> None:
        """Wait for the end that an engine barrier brings, if one was reached."""
        if self._parking is not None:
            await self._parking

    async def _stop_at_barrier(self, engines: list[str]) -> None:
        await self._checkpoints.settle()
        error = DefinitionError(
            f"all partitions of this worker are left for engine {', '.join(engines)} at its "
            f"barrier, this worker is engine {self._engine}: start the version the barrier names"
        )
        self._fail("an engine barrier was reached", error)

    def _staggered_records(self, partition: int) -> int:
        records = self._settings.checkpoint_records
        return records + records * partition // (2 * self._count)

    def _staggered_start(self, partition: int) -> float:
        return time.monotonic() - self._settings.checkpoint_seconds * partition / self._count
