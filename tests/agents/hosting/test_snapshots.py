"""Checkpoints as records: what vouches for what."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from hashlib import sha256

import pytest

from tidegate.agents.hosting.snapshots import (
    CHUNK_BYTES,
    KEPT_CHECKPOINTS,
    Manifest,
    Segment,
    chunk_key,
    compressed_chunks,
    decode_manifest,
    encode_manifest,
    keep_newest,
    manifest_key,
    pack,
    read_key,
    read_segment_key,
    segment_keys,
    tombstone_keys,
    unpack,
    unpack_segment,
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


def test_the_digest_covers_the_segments() -> None:
    """Another segment, or the same in another order, is another checkpoint; into how many chunks
    they were cut is nobody's business."""
    one, two = Segment(5, "aa", 1), Segment(7, "bb", 2)
    packed = pack("joiner", "e1", CHECKPOINT, segments=(one, two))
    chunks = list(packed.chunks)
    assert unpack(packed.manifest, chunks) == CHECKPOINT.state
    for changed in ((two, one), (one,), (one, Segment(7, "bc", 2))):
        assert unpack(replace(packed.manifest, segments=changed), chunks) is None
    otherwise = pack("joiner", "e1", CHECKPOINT, segments=(one, two._replace(chunks=3)))
    assert otherwise.manifest.digest == packed.manifest.digest
    assert decode_manifest(encode_manifest(packed.manifest)) == packed.manifest


def test_any_flipped_byte_of_a_segment_is_found() -> None:
    """A segment is what its digest says, or it is none; so are its chunks."""
    content = random.Random(1).randbytes(700)
    chunks = compressed_chunks(content)
    segment = Segment(9, sha256(content).hexdigest(), len(chunks))
    assert unpack_segment(segment, chunks) == content
    assert unpack_segment(segment, ()) is None
    for at in range(len(chunks[0])):
        torn = bytearray(chunks[0])
        torn[at] ^= 1
        found = unpack_segment(segment, [bytes(torn)])
        # Some bytes of a frame's header say nothing of its content.
        assert found in (None, content)
        assert unpack_segment(segment, [chunks[0][:at]]) is None


def manifest_of(released: int, *segments: Segment) -> Manifest:
    """A checkpoint that needs some segments."""
    return Manifest("joiner", 0, released, (0,), (0,), "e1", "", 1, "", segments=segments)


def test_segments_go_with_the_last_checkpoint_that_needs_them() -> None:
    """What one of the kept checkpoints needs stays, and what was sealed behind the oldest of them;
    what none needs goes, behind the manifests that needed it."""
    old, both, short = Segment(5, "old", 1), Segment(6, "both", 2), Segment(25, "short", 1)
    gone, stray = Segment(4, "gone", 2), Segment(3, "stray", 1)
    known = [manifest_of(10, gone, old, both), manifest_of(20, old, both)]
    newest, later = manifest_of(30, both), Segment(35, "later", 1)
    kept = keep_newest(newest, known, [gone, old, both, stray, short, later])
    assert [each.released for each in kept.manifests] == [20, 30]
    assert len(kept.manifests) == KEPT_CHECKPOINTS
    assert [each.digest for each in kept.segments] == ["old", "both", "short", "later"]
    lost = (key for segment in (gone, stray) for key in segment_keys("joiner", 0, segment))
    assert kept.deleted == [*tombstone_keys(known[0]), *lost]
    only = keep_newest(known[0], [], [stray, gone])
    assert only.deleted == []


Topic = dict[bytes, Manifest | None]
"""Manifests by key, and keys of segments."""


class Writer:
    """One of several workers of a partition, alive or a zombie; it knows what it wrote itself."""

    def __init__(self) -> None:
        self.at = 0
        self.manifests: list[Manifest] = []
        self.segments: list[Segment] = []

    def go_on(self, topic: Topic, cut: int, lives: dict[Segment, int]) -> None:
        """Seal, write and announce up to a cut, then delete; `lives` say until when each segment
        is needed."""
        sealed = [segment for segment in lives if self.at < segment.sealed <= cut]
        needed = sorted(it for it, until in lives.items() if it.sealed <= cut < until)
        manifest = manifest_of(cut, *needed)
        for segment in sealed:
            topic |= dict.fromkeys(segment_keys("joiner", 0, segment))
        topic[manifest_key("joiner", 0, cut)] = manifest
        kept = keep_newest(manifest, self.manifests, [*self.segments, *sealed])
        self.at, self.manifests, self.segments = cut, kept.manifests, kept.segments
        for key in kept.deleted:
            topic.pop(key, None)


@pytest.mark.parametrize("seed", range(20))
def test_the_newest_checkpoints_are_whole_whoever_deletes(seed: int) -> None:
    """Two workers write and delete in any order, each at cuts of its own: the newest two
    checkpoints in the topic have all their segments, always."""
    source = random.Random(seed)
    lives = {}
    for number in range(150):
        sealed = source.randrange(1, 400)
        lives[Segment(sealed, f"{number}", 1)] = sealed + source.randrange(1, 60)
    topic: Topic = {}
    writers = [Writer(), Writer()]
    checked = 0
    for _ in range(80):
        writer = source.choice(writers)
        writer.go_on(topic, writer.at + source.randrange(1, 15), lives)
        manifests = sorted((it for it in topic.values() if it), key=lambda each: each.released)
        for manifest in manifests[-KEPT_CHECKPOINTS:]:
            for segment in manifest.segments:
                assert segment_keys("joiner", 0, segment)[0] in topic
                checked += 1
    segments = [key for key, manifest in topic.items() if manifest is None]
    assert checked > 100
    assert len(segments) < len(lives) // 2


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
    (key,) = segment_keys("joiner", 1, Segment(9, "ab", 1))
    assert read_segment_key(key) == ("joiner", 1, 9, "ab", 0)
    assert read_key(key) is None
    assert read_segment_key(chunk_key("joiner", 1, 10, 3)) is None


def test_the_manifest_is_deleted_last() -> None:
    """Whoever dies while deleting leaves a manifest that names what is still to be deleted."""
    manifest = Manifest("joiner", 1, 10, (0,), (0,), "e1", "", 2, "")
    assert tombstone_keys(manifest) == [
        b"joiner/1/00000000000000000010/0000",
        b"joiner/1/00000000000000000010/0001",
        b"joiner/1/00000000000000000010/m",
    ]
