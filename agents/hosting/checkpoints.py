"""Writing checkpoints: packed in a thread, announced only behind acknowledged outputs."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tidegate.agents.failstop import FailStop, fail_stop
from tidegate.agents.hosting.publisher import (
    ProducerLike,
    Publisher,
    Tally,
    publishing_producer,
)
from tidegate.agents.hosting.restore import Restored
from tidegate.agents.hosting.snapshots import (
    Manifest,
    Packed,
    chunk_key,
    encode_manifest,
    manifest_key,
    pack,
    tombstone_keys,
)
from tidegate.agents.settings import Settings
from tidegate.streams.folding import Checkpoint

_log = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2
_POLL_SECONDS = 0.005
_BUFFER_POLL_SECONDS = 0.05


@dataclass(slots=True)
class _Log:
    """What is known of one partition's checkpoints in the topic, lowest first."""

    manifests: list[Manifest] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class CheckpointStatistics:
    """For metrics: totals since the process began."""

    written: int = 0
    conflicts: int = 0
    bytes_written: int = 0
    write_seconds: float = 0.0


class Checkpoints:
    """Writes the checkpoints of one role; one per process, used from its event loop."""

    def __init__(
        self,
        settings: Settings,
        role: str,
        engine: str,
        publisher: Publisher,
        *,
        fail: FailStop = fail_stop,
        producer: ProducerLike | None = None,
    ) -> None:
        self._topic = settings.topic("snapshots")
        self._role = role
        self._engine = engine
        self._publisher = publisher
        self._fail = fail
        # Chunks are compressed already, and a checkpoint waits for nobody.
        if producer is None:
            producer = publishing_producer(settings, {"compression.type": "none", "linger.ms": 0})
        self._producer = producer
        self._logs: dict[int, _Log] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._packer = ThreadPoolExecutor(1, thread_name_prefix="tidegate-pack")
        self.statistics = CheckpointStatistics()
        self._topic_ids: tuple[str, ...] = ()

    def adopt(
        self, partition: int, restored: Restored, topic_ids: tuple[str, ...] = ()
    ) -> None:
        """Remember what the topic holds for a partition this worker was given.

        `topic_ids` are those of the merged topics: what its checkpoints will be taken of.
        """
        self._topic_ids = topic_ids if any(topic_ids) else ()
        self._logs[partition] = _Log(list(restored.known))
        for released in restored.conflicts:
            self._alarm(partition, released, "two digests in the topic")

    def busy(self, partition: int) -> bool:
        """Whether a checkpoint of the partition is being written."""
        log = self._logs.get(partition)
        return log is not None and log.lock.locked()

    def take(self, checkpoint: Checkpoint) -> asyncio.Task[None]:
        """Write a checkpoint in the background; to be called at its cut, on the event loop."""
        tallies = self._publisher.cut(checkpoint.partition)
        task = asyncio.get_running_loop().create_task(self._guarded(checkpoint, tallies))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settle(self) -> None:
        """Wait until every checkpoint that was taken is written."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def poll(self) -> None:
        """Serve delivery reports; never waits."""
        self._producer.poll(0)

    async def _guarded(self, checkpoint: Checkpoint, tallies: tuple[Tally, ...]) -> None:
        try:
            log = self._logs.setdefault(checkpoint.partition, _Log())
            async with log.lock:
                await self._write(log, checkpoint, tallies)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail(f"a checkpoint of {self._role}/{checkpoint.partition} failed", error)

    async def _write(self, log: _Log, checkpoint: Checkpoint, tallies: tuple[Tally, ...]) -> None:
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        packed = await loop.run_in_executor(
            self._packer, pack, self._role, self._engine, checkpoint, self._topic_ids
        )
        manifest = packed.manifest
        self._compare(log, manifest)
        delivery = Tally(self._fail)
        for index, chunk in enumerate(packed.chunks):
            key = chunk_key(self._role, manifest.partition, manifest.released, index)
            await self._produce(manifest.partition, key, chunk, delivery)
        await self._complete((delivery, *tallies))
        announcement = Tally(self._fail)
        key = manifest_key(self._role, manifest.partition, manifest.released)
        await self._produce(manifest.partition, key, encode_manifest(manifest), announcement)
        await self._complete((announcement,))
        await self._delete_old(log, manifest)
        self._account(packed, checkpoint, time.monotonic() - began)

    async def _delete_old(self, log: _Log, manifest: Manifest) -> None:
        """Tombstone what is older than the last two; a zombie only reaches its own elders."""
        by_released = {known.released: known for known in (*log.manifests, manifest)}
        ordered = [by_released[released] for released in sorted(by_released)]
        newest = ordered.index(manifest)
        first_kept = max(0, newest + 1 - KEPT_CHECKPOINTS)
        for old in ordered[:first_kept]:
            for key in tombstone_keys(old):
                await self._produce(manifest.partition, key, None, Tally(self._fail))
        log.manifests[:] = ordered[first_kept:]

    async def _produce(self, partition: int, key: bytes, value: bytes | None, tally: Tally) -> None:
        tally.send(value)
        while True:
            try:
                self._producer.produce(
                    self._topic, value, key=key, partition=partition, on_delivery=tally.delivered
                )
                return
            except BufferError:
                self._producer.poll(0)
                await asyncio.sleep(_BUFFER_POLL_SECONDS)

    async def _complete(self, tallies: tuple[Tally, ...]) -> None:
        while not all(tally.complete for tally in tallies):
            self._producer.poll(0)
            self._publisher.poll()
            await asyncio.sleep(_POLL_SECONDS)

    def _compare(self, log: _Log, manifest: Manifest) -> None:
        """Equal cuts of one engine have equal digests, whoever took them."""
        for known in log.manifests:
            same_cut = (known.released, known.engine) == (manifest.released, manifest.engine)
            if same_cut and known.digest != manifest.digest:
                self._alarm(manifest.partition, manifest.released, "another worker's differs")

    def _alarm(self, partition: int, released: int, what: str) -> None:
        self.statistics.conflicts += 1
        _log.error(
            "DIVERGED: %s/%d at %d released records: %s; run tidegate verify",
            self._role, partition, released, what,
        )  # fmt: skip

    def _account(self, packed: Packed, checkpoint: Checkpoint, seconds: float) -> None:
        stored = sum(map(len, packed.chunks))
        self.statistics.written += 1
        self.statistics.bytes_written += stored
        self.statistics.write_seconds += seconds
        _log.info(
            "checkpoint written",
            extra={
                "partition": checkpoint.partition,
                "released": checkpoint.released,
                "state_bytes": len(checkpoint.state),
                "stored_bytes": stored,
                "seconds": round(seconds, 3),
                "digest": packed.manifest.digest[:16],
            },
        )
