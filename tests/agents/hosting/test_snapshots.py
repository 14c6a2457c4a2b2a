"""Checkpoints as records: what vouches for what."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from tidegate.agents.hosting.snapshots import (
    CHUNK_BYTES,
    Manifest,
    chunk_key,
    decode_manifest,
    encode_manifest,
    manifest_key,
    pack,
    read_key,
    tombstone_keys,
    unpack,
)
from tidegate.streams.folding import Checkpoint

CHECKPOINT = Checkpoint(
    partition=2,
    released=300_000,
    next_offsets=(7, 8, 9),
    log_times_ms=(100, 200, 300),
    state=bytes(range(256)) * 4_000,
    barrier="",
)


def test_a_packed_checkpoint_unpacks_to_its_state() -> None:
    """What was packed comes back byte for byte."""
    packed = pack("joiner", "e1", CHECKPOINT)
    assert unpack(packed.manifest, list(packed.chunks)) == CHECKPOINT.state


def test_large_states_come_in_chunks() -> None:
    """A state that does not compress is cut at the chunk size and put together again."""
    state = random.Random(0).randbytes(2 * CHUNK_BYTES)
    packed = pack("joiner", "e1", replace(CHECKPOINT, state=state))
    assert len(packed.chunks) > 1
    assert all(len(chunk) <= CHUNK_BYTES for chunk in packed.chunks)
    assert unpack(packed.manifest, list(packed.chunks)) == state


def test_an_empty_state_is_a_state() -> None:
    """Nothing to say is said and verified like anything else."""
    packed = pack("decider", "e1", replace(CHECKPOINT, state=b""))
    assert unpack(packed.manifest, list(packed.chunks)) == b""


@pytest.mark.parametrize("at", [0, 1, 20, -1])
def test_a_flipped_byte_is_found(at: int) -> None:
    """A torn or rotten chunk never becomes a state."""
    packed = pack("joiner", "e1", CHECKPOINT)
    chunk = bytearray(packed.chunks[0])
    chunk[at] ^= 1
    assert unpack(packed.manifest, [bytes(chunk), *packed.chunks[1:]]) is None


def test_a_missing_chunk_is_found() -> None:
    """Fewer chunks than the manifest counts are no checkpoint."""
    packed = pack("joiner", "e1", CHECKPOINT)
    assert unpack(packed.manifest, list(packed.chunks[:-1])) is None


@pytest.mark.parametrize(
    "change",
    [
        {"released": 300_001},
        {"next_offsets": (7, 8, 10)},
        {"log_times_ms": (100, 200, 301)},
        {"engine": "e2"},
        {"barrier": "e2"},
        {"role": "decider"},
        {"partition": 3},
        {"topic_ids": ("a", "b")},
        {"topic_ids": ()},
    ],
)
def test_the_digest_covers_the_manifest(change: dict[str, object]) -> None:
    """A manifest that was changed does not verify, whichever field it is."""
    packed = pack("joiner", "e1", CHECKPOINT, ("a", "c"))
    changed = replace(packed.manifest, **change)  # type: ignore[arg-type]  # one field of many types
    assert unpack(changed, list(packed.chunks)) is None


def test_equal_cuts_have_equal_records() -> None:
    """Who took a checkpoint does not show in it."""
    assert pack("joiner", "e1", CHECKPOINT) == pack("joiner", "e1", CHECKPOINT)


def test_a_manifest_survives_its_record() -> None:
    """The manifest reads back from the bytes it was written as."""
    manifest = pack("joiner", "e1", CHECKPOINT, ("a", "b")).manifest
    assert decode_manifest(encode_manifest(manifest)) == manifest


def test_a_manifest_that_pins_no_topics_verifies() -> None:
    """Those of brokers without topic ids, and of versions that wrote none."""
    packed = pack("joiner", "e1", CHECKPOINT)
    written = json.loads(encode_manifest(packed.manifest))
    del written["topic_ids"]
    manifest = decode_manifest(json.dumps(written).encode())
    assert manifest == packed.manifest
    assert unpack(manifest, list(packed.chunks)) == CHECKPOINT.state


NESTED = b"[" * 100_000
INFINITE = encode_manifest(Manifest("joiner", 1, 9, (0,), (0,), "e1", "", 2, "")).replace(
    b'"released":9', b'"released":Infinity'
)


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"[]", b"null", b"\xff", b'{"role": 1}', NESTED, INFINITE]
)
def test_what_is_no_manifest_is_none(value: bytes) -> None:
    """Foreign bytes under a manifest's key are passed over."""
    assert decode_manifest(value) is None


def test_keys_sort_by_what_they_name() -> None:
    """Keys of later checkpoints sort after earlier ones, and read back."""
    assert chunk_key("joiner", 1, 9, 0) < chunk_key("joiner", 1, 10, 0)
    assert read_key(chunk_key("joiner", 1, 10, 3)) == ("joiner", 1, 10, 3)
    assert read_key(manifest_key("joiner", 1, 10)) == ("joiner", 1, 10, None)
    assert read_key(b"something else") is None
    assert read_key(None) is None


def test_the_manifest_is_deleted_last() -> None:
    """Whoever dies while deleting leaves a manifest that names what is still to be deleted."""
    manifest = Manifest("joiner", 1, 10, (0,), (0,), "e1", "", 2, "")
    assert tombstone_keys(manifest) == [
        b"joiner/1/00000000000000000010/0000",
        b"joiner/1/00000000000000000010/0001",
        b"joiner/1/00000000000000000010/m",
    ]
