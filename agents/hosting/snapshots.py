"""Checkpoints as records of the topic `snapshots`: chunks first, then a manifest that vouches.

Keys are `role/partition/released(20 digits)/chunk(4 digits)`, the manifest's last part is `m`.
A checkpoint is named by what it is (how many records were released), not by who took it: two
workers that write the same cut write the same bytes. What does not change from one checkpoint to
the next is in segments, which manifests refer to by the digest of their contents; their keys are
`role/partition/released when sealed/digest/chunk`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Any, NamedTuple

import cramjam

from tidegate.schemas.canonical import canonical_json
from tidegate.streams.folding import Checkpoint

KEPT_CHECKPOINTS = 2
CHUNK_BYTES = 900_000
ZSTD_LEVEL = -7
"""Part of the engine, as the library is: else, of a segment that two workers write, one after the
other dying in the midst of it, chunks packed in two ways would be left, which are none together."""


class Segment(NamedTuple):
    """A segment in the topic: records released when it was sealed, SHA-256 of its content (hex),
    how many chunks it has."""

    sealed: int
    digest: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint holds. `digest` covers every other field but numbers of chunks, and the
    state.

    `barrier` names the engine for which the old one left this state, else it is empty.
    `topic_ids` are Kafka's own of the merged topics, by rank: one that was made anew has another.
    Empty where the broker tells none, and in checkpoints of versions that did not pin them.
    """

    role: str
    partition: int
    released: int
    next_offsets: tuple[int, ...]
    log_times_ms: tuple[int, ...]
    engine: str
    barrier: str
    chunks: int
    digest: str
    topic_ids: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Packed:
    """A checkpoint ready to be written: `chunks` in order, then `manifest`."""

    manifest: Manifest
    chunks: tuple[bytes, ...]


def pack(
    role: str,
    engine: str,
    checkpoint: Checkpoint,
    topic_ids: tuple[str, ...] = (),
    segments: tuple[Segment, ...] = (),
) -> Packed:
    """Compress and sign off a checkpoint. Slow for large states; made for a thread."""
    chunks = compressed_chunks(checkpoint.state)
    unsigned = Manifest(
        role=role,
        partition=checkpoint.partition,
        released=checkpoint.released,
        next_offsets=checkpoint.next_offsets,
        log_times_ms=checkpoint.log_times_ms,
        engine=engine,
        barrier=checkpoint.barrier,
        chunks=len(chunks),
        digest="",
        topic_ids=topic_ids,
        segments=segments,
    )
    return Packed(replace(unsigned, digest=_digest(unsigned, checkpoint.state)), chunks)


def unpack(manifest: Manifest, chunks: Sequence[bytes]) -> bytes | None:
    """The state of a checkpoint, or None when chunks and manifest do not belong together."""
    state = _decompressed(manifest.chunks, chunks)
    return state if state is not None and _digest(manifest, state) == manifest.digest else None


def compressed_chunks(content: bytes) -> tuple[bytes, ...]:
    """Compressed, in pieces that fit into records."""
    compressed = bytes(cramjam.zstd.compress(content, ZSTD_LEVEL))
    starts = range(0, len(compressed), CHUNK_BYTES)
    return tuple(compressed[start : start + CHUNK_BYTES] for start in starts)


def unpack_segment(segment: Segment, chunks: Sequence[bytes]) -> bytes | None:
    """The content of a segment, or None when these chunks are not its own."""
    content = _decompressed(segment.chunks, chunks)
    is_sound = content is not None and sha256(content).hexdigest() == segment.digest
    return content if is_sound else None


def _decompressed(count: int, chunks: Sequence[bytes]) -> bytes | None:
    if len(chunks) != count:
        return None
    try:
        return bytes(cramjam.zstd.decompress(b"".join(chunks)))
    except cramjam.DecompressionError:
        return None


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as the value of its record."""
    return canonical_json(_fields_of(manifest)).encode()


def decode_manifest(value: bytes) -> Manifest | None:
    """The manifest a record holds, or None when it is none of this version."""
    try:
        fields = json.loads(value)
        return Manifest(
            role=str(fields["role"]),
            partition=int(fields["partition"]),
            released=int(fields["released"]),
            next_offsets=tuple(int(offset) for offset in fields["next_offsets"]),
            log_times_ms=tuple(int(time_ms) for time_ms in fields["log_times_ms"]),
            engine=str(fields["engine"]),
            barrier=str(fields["barrier"]),
            chunks=int(fields["chunks"]),
            digest=str(fields["digest"]),
            topic_ids=tuple(str(topic_id) for topic_id in fields.get("topic_ids", ())),
            segments=tuple(
                Segment(int(sealed), str(digest), int(chunks))
                for sealed, digest, chunks in fields["segments"]
            ),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def chunk_key(role: str, partition: int, released: int, chunk: int) -> bytes:
    """Key of a chunk.

    >>> chunk_key("joiner", 3, 1_200_000, 0)
    b'joiner/3/00000000000001200000/0000'
    """
    return f"{role}/{partition}/{released:020d}/{chunk:04d}".encode()


def manifest_key(role: str, partition: int, released: int) -> bytes:
    """Key of a manifest."""
    return f"{role}/{partition}/{released:020d}/m".encode()


def read_key(key: bytes | None) -> tuple[str, int, int, int | None] | None:
    """(role, partition, released, chunk or None for a manifest), or None for any other key.

    >>> read_key(b"joiner/3/00000000000001200000/m")
    ('joiner', 3, 1200000, None)
    """
    try:
        role, partition, released, part = (key or b"").decode().split("/")
        return role, int(partition), int(released), None if part == "m" else int(part)
    except ValueError:
        return None


def segment_keys(role: str, partition: int, segment: Segment) -> list[bytes]:
    """Keys of the chunks of a segment.

    >>> segment_keys("joiner", 3, Segment(1_200_000, "ab12", 1))
    [b'joiner/3/00000000000001200000/ab12/0000']
    """
    name = f"{role}/{partition}/{segment.sealed:020d}/{segment.digest}"
    return [f"{name}/{chunk:04d}".encode() for chunk in range(segment.chunks)]


def read_segment_key(key: bytes | None) -> tuple[str, int, int, str, int] | None:
    """(role, partition, released when sealed, digest, chunk), or None for any other key.

    >>> read_segment_key(b"joiner/3/00000000000001200000/ab12/0000")
    ('joiner', 3, 1200000, 'ab12', 0)
    """
    try:
        role, partition, sealed, digest, chunk = (key or b"").decode().split("/")
        return role, int(partition), int(sealed), digest, int(chunk)
    except ValueError:
        return None


def state_keys(manifest: Manifest) -> list[bytes]:
    """Keys of the chunks of a checkpoint's state."""
    role, partition, released = manifest.role, manifest.partition, manifest.released
    return [chunk_key(role, partition, released, chunk) for chunk in range(manifest.chunks)]


def tombstone_keys(manifest: Manifest) -> list[bytes]:
    """Keys to delete so that a checkpoint is gone; its manifest last, so that none is forgotten.

    Its segments may be those of other checkpoints too.
    """
    own = manifest_key(manifest.role, manifest.partition, manifest.released)
    return [*state_keys(manifest), own]


class Kept(NamedTuple):
    """What stays in the topic once a checkpoint is announced, and the keys to delete, in order."""

    manifests: list[Manifest]
    segments: list[Segment]
    deleted: list[bytes]


def keep_newest(
    manifest: Manifest, known: Iterable[Manifest], segments: Iterable[Segment]
) -> Kept:
    """Keep the newest checkpoints up to `manifest`, which is announced, and all above it.

    So a zombie only reaches its own elders. Once a segment is needed no more at some cut, it is
    needed at none after it. So what was sealed before the oldest kept checkpoint, and is needed by
    none that is kept, is needed by none that anybody wrote behind that one.
    """
    by_released = {each.released: each for each in (*known, manifest)}
    ordered = [by_released[released] for released in sorted(by_released)]
    first_kept = ordered.index(manifest) + 1 - KEPT_CHECKPOINTS
    if first_kept < 0:
        return Kept(ordered, list(segments), [])
    kept = ordered[first_kept:]
    needed = {segment.digest for each in kept for segment in each.segments}
    held, deleted = [], [key for old in ordered[:first_kept] for key in tombstone_keys(old)]
    for segment in segments:
        if segment.sealed > kept[0].released or segment.digest in needed:
            held.append(segment)
        else:
            deleted += segment_keys(manifest.role, manifest.partition, segment)
    return Kept(kept, held, deleted)


def _digest(manifest: Manifest, state: bytes) -> str:
    identity = _fields_of(manifest)
    del identity["chunks"], identity["digest"]
    if not manifest.topic_ids:
        del identity["topic_ids"]
    identity["segments"] = [segment.digest for segment in manifest.segments]
    hasher = sha256(canonical_json(identity).encode())
    hasher.update(state)
    return hasher.hexdigest()


def _fields_of(manifest: Manifest) -> dict[str, Any]:
    """By name; `asdict` would copy every offset."""
    return {item.name: getattr(manifest, item.name) for item in fields(manifest)}
