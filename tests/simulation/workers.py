"""Simulated workers: one fold each, its outputs on their way, its checkpoints, its death."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tests.simulation.logs import Cluster, Entry, Place
from tidegate.agents.hosting.restore import Tail
from tidegate.agents.hosting.snapshots import (
    Manifest,
    Segment,
    compressed_chunks,
    encode_manifest,
    keep_newest,
    manifest_key,
    pack,
    read_key,
    segment_keys,
    state_keys,
)
from tidegate.agents.kafka import Record
from tidegate.schemas.topics import merged_topics
from tidegate.streams.deciding.decider import Decider
from tidegate.streams.folding import Checkpoint, Handler, PartitionFold, Sealed
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.output import Emit, Output

ENGINE = "engine"
CRASH_POINTS = (
    "fetch", "feed", "emit", "drain", "acknowledge", "segment", "chunk", "manifest", "tombstone",
)  # fmt: skip
TOPICS = {role: merged_topics(role) for role in ("joiner", "decider")}


class Crash(Exception):
    """SIGKILL at a crash point."""


@dataclass(frozen=True, slots=True)
class Role:
    """What kind of worker: of which role, for which partition."""

    name: str
    partition: int


@dataclass(slots=True)
class Snapshots:
    """The topic `snapshots` of one role and partition."""

    records: list[tuple[bytes, bytes | None]] = field(default_factory=list)

    def tail(self, role: Role) -> Tail:
        """What the real loader makes of it."""
        tail = Tail(role.name, role.partition)
        for offset, (key, value) in enumerate(self.records):
            tail.take(Record("snapshots", role.partition, offset, 0, key, value, ()))
        return tail

    def tear(self, choice: int, at: int) -> bool:
        """Damage a chunk that is still there; whether there was one."""
        places = [n for n, (key, value) in enumerate(self.records) if value and key[-1:] != b"m"]
        if not places:
            return False
        segments = [n for n in places if read_key(self.records[n][0]) is None]
        if segments and choice % 2:
            places = segments
        place = places[-1 - choice % min(2, len(places))]
        key, value = self.records[place]
        assert value is not None
        at %= len(value)
        torn = value[:at] if choice % 3 == 0 else _flipped(value, at)
        self.records[place] = (key, torn)
        return True


def _flipped(value: bytes, at: int) -> bytes:
    return value[:at] + bytes([value[at] ^ 0x55]) + value[at + 1 :]


@dataclass
class Worker:
    """A process that owns one partition of one role.

    Outputs wait in `queue` until `acknowledge` hands them to the brokers, in order within a
    topic-partition, as an idempotent producer does. `armed` is (crash point, how often it may
    still be passed). `emitted` holds what this incarnation put out, in order,
    by topic-partition; order between those means nothing.
    """

    role: Role
    cluster: Cluster
    snapshots: Snapshots
    fold: PartitionFold
    incarnation: int
    now_ms: Callable[[], int]
    queue: list[tuple[int, Output]] = field(default_factory=list)
    waiting: list[tuple[Checkpoint, int]] = field(default_factory=list)
    emitted: dict[Place, list[Output]] = field(default_factory=dict)
    checkpoints: list[tuple[Checkpoint, Counter[Place]]] = field(default_factory=list)
    written: list[Manifest] = field(default_factory=list)
    sealed: list[Sealed] = field(default_factory=list)
    segments: dict[str, Segment] = field(default_factory=dict)
    armed: tuple[str, int] | None = None
    passed_over: bool = False
    has_segments: bool = False
    restored: int = -1
    sent: int = 0

    def reach(self, point: str) -> None:
        """Dies here if that is what the schedule wants."""
        if self.armed is None or self.armed[0] != point:
            return
        if self.armed[1] > 0:
            self.armed = (point, self.armed[1] - 1)
            return
        raise Crash(point)

    def emit(self, output: Output) -> None:
        """What the fold puts out."""
        self.queue.append((self.sent, output))
        self.emitted.setdefault((output.topic, output.partition), []).append(output)
        self.sent += 1
        self.reach("emit")

    def keep(self, checkpoint: Checkpoint) -> None:
        """A cut at which a checkpoint was due."""
        counts = Counter({place: len(outputs) for place, outputs in self.emitted.items()})
        self.checkpoints.append((checkpoint, counts))
        self.waiting.append((checkpoint, self.sent))

    def seal(self, sealed: Sealed) -> None:
        """A cut at which segments were sealed."""
        self.sealed.append(sealed)

    def work(self, rank: int, limit: int, back: int = 0) -> bool:
        """One fetch of one topic, through the fold; whether there was anything new."""
        topic = TOPICS[self.role.name][rank]
        place = (topic.name, self.role.partition)
        self.reach("fetch")
        offset = self.fold.merge.fetch_offsets[rank]
        fetched = self.cluster.fetch(place, max(0, offset - back), limit)
        if fetched is None:
            return False
        self.fold.feed(rank, fetched)
        self.reach("feed")
        self.fold.drain()
        self.reach("drain")
        return self.fold.merge.fetch_offsets[rank] > offset

    def acknowledge(self, limit: int) -> None:
        """Brokers take some of what is queued; what has no leader waits, and what follows it."""
        left: list[tuple[int, Output]] = []
        blocked: set[Place] = set()
        for number, output in self.queue:
            place = (output.topic, output.partition)
            if limit <= 0 or place in blocked or place in self.cluster.away:
                blocked.add(place)
                left.append((number, output))
                continue
            limit -= 1
            self.cluster.append(place, Entry(output.value, None, output.key, self.now_ms()))
        self.queue[:] = left
        self.reach("acknowledge")
        self._write_segments()
        self._write_checkpoints()

    def _write_segments(self) -> None:
        # Nothing vouches for them yet: they wait for no output.
        while self.sealed:
            sealed = self.sealed.pop(0)
            for digest, content in sealed.contents.items():
                chunks = compressed_chunks(content)
                segment = Segment(sealed.released, digest, len(chunks))
                keys = segment_keys(self.role.name, self.role.partition, segment)
                for key, chunk in zip(keys, chunks, strict=True):
                    self.snapshots.records.append((key, chunk))
                    self.reach("segment")
                self.segments[digest] = segment

    def _write_checkpoints(self) -> None:
        # The first of the queue is the earliest: a later one that arrived says nothing of it.
        while self.waiting and not (self.queue and self.queue[0][0] < self.waiting[0][1]):
            checkpoint, _ = self.waiting.pop(0)
            segments = tuple(self.segments[digest] for digest in checkpoint.segments)
            packed = pack(self.role.name, ENGINE, checkpoint, segments=segments)
            manifest, records = packed.manifest, self.snapshots.records
            for key, chunk in zip(state_keys(manifest), packed.chunks, strict=True):
                records.append((key, chunk))
                self.reach("chunk")
            key = manifest_key(self.role.name, manifest.partition, manifest.released)
            records.append((key, encode_manifest(manifest)))
            self.reach("manifest")
            kept = keep_newest(manifest, self.written, self.segments.values())
            self.written = kept.manifests
            self.segments = {segment.digest: segment for segment in kept.segments}
            for key in kept.deleted:
                records.append((key, None))
                self.reach("tombstone")


def boot(
    role: Role,
    cluster: Cluster,
    snapshots: Snapshots,
    incarnation: int,
    now_ms: Callable[[], int],
    make: Callable[[Role, Emit], Handler],
    checkpoint_records: int,
) -> Worker:
    """A new process: goes on from the highest checkpoint that verifies, else from the beginning."""

    def emit(output: Output) -> None:
        worker.emit(output)

    def keep(checkpoint: Checkpoint) -> None:
        worker.keep(checkpoint)

    def seal(sealed: Sealed) -> None:
        worker.seal(sealed)

    fold = PartitionFold(role.partition, 3, make(role, emit), keep, checkpoint_records, seal)
    worker = Worker(role, cluster, snapshots, fold, incarnation, now_ms)
    tail = snapshots.tail(role)
    found = tail.highest()
    worker.written = [it for it in tail.known() if found and it.released <= found[0].released]
    named = [segment for manifest in worker.written for segment in manifest.segments]
    worker.segments = {segment.digest: segment for segment in (*tail.strays(), *named)}
    worker.passed_over = len(tail.known()) > len(worker.written)
    if found is not None:
        fold.load(found[1], found[2])
        worker.has_segments = bool(found[0].segments)
        worker.restored = fold.released
    return worker


def handler_of(
    role: Role, emit: Emit, settings: JoinerSettings, partitions: int
) -> Handler:
    """The real fold of a role."""
    if role.name == "joiner":
        return Joiner(role.partition, settings, ENGINE, emit)
    return Decider(role.partition, partitions, 1, emit, ENGINE)


def reference(
    role: Role, cluster: Cluster, make: Callable[[Role, Emit], Handler], limit: int
) -> tuple[PartitionFold, list[Output]]:
    """The same logs through a fold that never crashed, fetched otherwise."""
    outputs: list[Output] = []
    fold = PartitionFold(role.partition, 3, make(role, outputs.append))
    feed = partial(_feed_some, fold, role, cluster, limit)
    while sum(feed(rank) for rank in (2, 0, 1)):
        fold.drain()
    return fold, outputs


def _feed_some(
    fold: PartitionFold, role: Role, cluster: Cluster, limit: int, rank: int
) -> bool:
    log = cluster.logs[TOPICS[role.name][rank].name, role.partition]
    offset = fold.merge.fetch_offsets[rank]
    if offset >= len(log.entries):
        return False
    fold.feed(rank, log.fetch(offset, limit))
    return True
