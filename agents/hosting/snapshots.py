"""Checkpoints as records of the topic `snapshots`: chunks first, then a manifest that vouches.

Keys are `role/partition/released(20 digits)/chunk(4 digits)`, the manifest's last part is `m`.
A checkpoint is named by what it is (how many records were released), not by who took it: two
workers that write the same cut write the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import cramjam

from tidegate.schemas.canonical import canonical_json
from tidegate.streams.folding import Checkpoint

CHUNK_BYTES = 900_000
_ZSTD_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint holds. `digest` covers every other field but `chunks`, and the state.

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


@dataclass(frozen=True, slots=True)
class Packed:
    """A checkpoint ready to be written: `chunks` in order, then `manifest`."""

    manifest: Manifest
    chunks: tuple[bytes, ...]


def pack(
    role: str, engine: str, checkpoint: Checkpoint, topic_ids: tuple[str, ...] = ()
) -> Packed:
    """Compress and sign off a checkpoint. Slow for large states; made for a thread."""
    compressed = bytes(cramjam.zstd.compress(checkpoint.state, _ZSTD_LEVEL))
    starts = range(0, len(compressed), CHUNK_BYTES)
    chunks = tuple(compressed[start : start + CHUNK_BYTES] for start in starts)
    identity: dict[str, Any] = {
        "role": role,
        "partition": checkpoint.partition,
        "released": checkpoint.released,
        "next_offsets": checkpoint.next_offsets,
        "log_times_ms": checkpoint.log_times_ms,
        "engine": engine,
        "barrier": checkpoint.barrier,
        **({"topic_ids": topic_ids} if topic_ids else {}),
    }
    digest = _digest(identity, checkpoint.state)
    return Packed(Manifest(**identity, chunks=len(chunks), digest=digest), chunks)


def unpack(manifest: Manifest, chunks: list[bytes]) -> bytes | None:
    """The state of a checkpoint, or None when chunks and manifest do not belong together."""
    if len(chunks) != manifest.chunks:
        return None
    try:
        state = bytes(cramjam.zstd.decompress(b"".join(chunks)))
    except cramjam.DecompressionError:
        return None
    identity = asdict(manifest)
    del identity["chunks"], identity["digest"]
    if not manifest.topic_ids:
        del identity["topic_ids"]
    return state if _digest(identity, state) == manifest.digest else None


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as the value of its record."""
    return canonical_json(asdict(manifest)).encode()


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


def tombstone_keys(manifest: Manifest) -> list[bytes]:
    """Keys to delete so that a checkpoint is gone; its manifest last, so that none is forgotten."""
    role, partition, released = manifest.role, manifest.partition, manifest.released
    chunks = [chunk_key(role, partition, released, chunk) for chunk in range(manifest.chunks)]
    return [*chunks, manifest_key(role, partition, released)]


def _digest(identity: dict[str, Any], state: bytes) -> str:
    hasher = sha256(canonical_json(identity).encode())
    hasher.update(state)
    return hasher.hexdigest()
