"""Finding the checkpoint to go on from, on both brokers: torn, foreign, overtaken ones."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import pytest

from tidegate.agents.hosting import snapshots
from tidegate.agents.hosting.restore import check_engine, restore
from tidegate.agents.hosting.snapshots import (
    Packed,
    Segment,
    chunk_key,
    compressed_chunks,
    encode_manifest,
    manifest_key,
    pack,
    segment_keys,
    tombstone_keys,
)
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.streams.folding import Checkpoint

PARTITION = 1


def packed(
    released: int,
    state: bytes = b"state",
    engine: str = "e1",
    barrier: str = "",
    segments: tuple[Segment, ...] = (),
) -> Packed:
    """A checkpoint of the joiner that stands for `released` records."""
    checkpoint = Checkpoint(PARTITION, released, (released, 0, 0), (1, 1, 1), state, barrier)
    return pack("joiner", engine, checkpoint, segments=segments)


def segment(sealed: int, content: bytes) -> tuple[Segment, list[tuple[bytes, bytes | None]]]:
    """A segment and its records."""
    chunks = compressed_chunks(content)
    found = Segment(sealed, sha256(content).hexdigest(), len(chunks))
    return found, list(zip(segment_keys("joiner", PARTITION, found), chunks, strict=True))


def write(settings: Settings, records: Sequence[tuple[bytes, bytes | None]]) -> None:
    """Records of the topic `snapshots`, in order."""
    producer = new_producer(settings)
    for key, value in records:
        producer.produce(settings.topic("snapshots"), value, key=key, partition=PARTITION)
    assert producer.flush(20) == 0


def records(checkpoint: Packed) -> list[tuple[bytes, bytes | None]]:
    """A whole checkpoint: chunks, then manifest."""
    manifest = checkpoint.manifest
    chunks: list[tuple[bytes, bytes | None]] = [
        (chunk_key("joiner", PARTITION, manifest.released, index), chunk)
        for index, chunk in enumerate(checkpoint.chunks)
    ]
    key = manifest_key("joiner", PARTITION, manifest.released)
    return [*chunks, (key, encode_manifest(manifest))]


def found(settings: Settings, engine: str = "e1") -> tuple[int, bytes] | None:
    """What a worker would go on from."""
    restored = restore(settings, "joiner", PARTITION, engine)
    if restored.manifest is None or restored.state is None:
        return None
    return restored.manifest.released, restored.state


def test_an_empty_topic_gives_nothing(settings: Settings) -> None:
    """Without a checkpoint the worker begins where the logs begin."""
    assert found(settings) is None


def test_the_highest_counts(settings: Settings) -> None:
    """Checkpoints of other roles and partitions do not."""
    write(settings, records(packed(10, b"old")))
    write(settings, records(packed(20, b"new")))
    other = replace(packed(30).manifest, role="decider")
    write(settings, [(manifest_key("decider", PARTITION, 30), encode_manifest(other))])
    write(settings, [(b"something else", b"x")])
    assert found(settings) == (20, b"new")


def test_a_zombies_checkpoint_does_not_count(settings: Settings) -> None:
    """What is written later by a worker that is behind is not newer."""
    write(settings, records(packed(20, b"new")))
    write(settings, records(packed(10, b"zombie")))
    assert found(settings) == (20, b"new")


def test_a_torn_checkpoint_falls_back(settings: Settings) -> None:
    """A chunk that rotted, or was never written: the one before is taken."""
    write(settings, records(packed(10, b"sound")))
    torn = records(packed(20, b"torn"))
    rotten = bytes([torn[0][1][0] ^ 1]) + torn[0][1][1:] if torn[0][1] else b""
    write(settings, [(torn[0][0], rotten), *torn[1:]])
    write(settings, records(packed(30, b"headless"))[1:])
    assert found(settings) == (10, b"sound")


def test_a_checkpoint_without_manifest_is_none(settings: Settings) -> None:
    """The writer died before it could vouch."""
    write(settings, records(packed(10, b"sound")))
    write(settings, records(packed(20, b"unfinished"))[:-1])
    assert found(settings) == (10, b"sound")


def test_a_changed_manifest_falls_back(settings: Settings) -> None:
    """A digest that does not fit is no checkpoint."""
    write(settings, records(packed(10, b"sound")))
    lying = packed(20, b"lying")
    lying = replace(lying, manifest=replace(lying.manifest, next_offsets=(21, 0, 0)))
    write(settings, records(lying))
    assert found(settings) == (10, b"sound")


def test_deleted_checkpoints_are_gone(settings: Settings) -> None:
    """Tombstones count even before compaction."""
    write(settings, records(packed(10, b"kept")))
    gone = packed(20, b"gone")
    write(settings, records(gone))
    write(settings, [(key, None) for key in tombstone_keys(gone.manifest)])
    assert found(settings) == (10, b"kept")


def test_it_is_found_behind_much_else(settings: Settings) -> None:
    """The tail is read first, and more of the log when nothing there verifies."""
    write(settings, records(packed(10, b"far")))
    write(settings, [(b"decider/1/%020d/0000" % number, b"x") for number in range(1_500)])
    assert found(settings) == (10, b"far")


def test_two_digests_of_one_cut_are_told(settings: Settings) -> None:
    """Workers that differ at equal cuts have diverged: an alarm, free of charge."""
    write(settings, records(packed(10, b"one")))
    write(settings, records(packed(10, b"another")))
    restored = restore(settings, "joiner", PARTITION, "e1")
    assert restored.conflicts == (10,)


def test_another_engines_checkpoint_is_refused(settings: Settings) -> None:
    """Never re-emit old numbers with other contents; the message names both engines."""
    write(settings, records(packed(10)))
    with pytest.raises(DefinitionError, match="made by engine e1, this worker is engine e2"):
        restore(settings, "joiner", PARTITION, "e2")


def manifest_of_an_earlier_version(released: int) -> bytes:
    """A manifest as versions wrote it that knew no segments."""
    fields = json.loads(encode_manifest(packed(released).manifest))
    del fields["segments"]
    return json.dumps(fields).encode()


def test_an_earlier_versions_checkpoint_is_refused(settings: Settings) -> None:
    """It is no deleted one: to fold from the beginning would use its numbers again."""
    key = manifest_key("joiner", PARTITION, 10)
    write(settings, [(key, manifest_of_an_earlier_version(10))])
    with pytest.raises(DefinitionError, match="made by another version"):
        restore(settings, "joiner", PARTITION, "e1")
    write(settings, [(key, None)])
    assert found(settings) is None
    write(settings, [(key, manifest_of_an_earlier_version(10))])
    write(settings, [(b"decider/1/%020d/0000" % number, b"x") for number in range(200)])
    write(settings, records(packed(20, b"later")))
    assert found(settings) == (20, b"later")


@pytest.mark.parametrize(
    ("engine", "barrier", "words"),
    [("e1", "", None), ("e2", "", "made by engine e2"), ("e2", "e1", "left for this engine")],
)
def test_where_none_is_whole_only_ones_own_beginning_is_gone_back_to(
    settings: Settings, engine: str, barrier: str, words: str | None
) -> None:
    """The same engine writes the same again; what another one wrote must not be written over."""
    torn = packed(10, engine=engine, barrier=barrier)
    write(settings, records(torn)[1:])
    if words is None:
        restored = restore(settings, "joiner", PARTITION, "e1")
        assert (restored.manifest, restored.known) == (None, (torn.manifest,))
        return
    with pytest.raises(DefinitionError, match=words):
        restore(settings, "joiner", PARTITION, "e1")


def test_a_barrier_hands_over(settings: Settings) -> None:
    """A state left at a barrier for this engine is gone on from."""
    write(settings, records(packed(10, b"left", barrier="e2")))
    assert found(settings, "e2") == (10, b"left")


def test_the_old_engine_may_see_what_it_left() -> None:
    """It parks there instead of failing: its other partitions may not have come so far."""
    check_engine(packed(10, barrier="e2").manifest, "e1")
    with pytest.raises(DefinitionError):
        check_engine(packed(10, barrier="e2").manifest, "e3")


def test_a_checkpoint_is_found_with_its_segments(settings: Settings) -> None:
    """Contents in the order the manifest names them, however far back in the log they were
    written; what no manifest refers to is told."""
    first, far = segment(1, b"first")
    second, near = segment(2, b"second")
    stray, left = segment(3, b"left by somebody who died")
    write(settings, far)
    write(settings, [(b"decider/1/%020d/0000" % number, b"x") for number in range(600)])
    write(settings, left)
    write(settings, near)
    write(settings, records(packed(10, b"old", segments=(first,))))
    write(settings, records(packed(20, b"new", segments=(first, second))))
    restored = restore(settings, "joiner", PARTITION, "e1")
    assert restored.manifest is not None
    assert (restored.manifest.released, restored.state) == (20, b"new")
    for _ in range(2):
        assert list(restored.segments) == [b"first", b"second"]
    assert restored.strays == (stray,)


@pytest.mark.parametrize("how", ["missing", "deleted", "flipped", "another"])
def test_a_checkpoint_without_a_sound_segment_falls_back(settings: Settings, how: str) -> None:
    """A segment that is not there, was deleted, rotted, or is another one under its name: the
    checkpoint before is taken, which does not need it."""
    common, shared = segment(1, b"common")
    torn, own = segment(2, b"own")
    ((key, value),) = own
    assert value is not None
    found: dict[str, list[tuple[bytes, bytes | None]]] = {
        "missing": [],
        "deleted": [(key, value), (key, None)],
        "flipped": [(key, value[:-1] + bytes([value[-1] ^ 1]))],
        "another": [(key, shared[0][1])],
    }
    write(settings, shared)
    write(settings, records(packed(10, b"sound", segments=(common,))))
    write(settings, found[how])
    write(settings, records(packed(20, b"torn", segments=(common, torn))))
    restored = restore(settings, "joiner", PARTITION, "e1")
    assert restored.state == b"sound"
    assert list(restored.segments) == [b"common"]


def test_a_segment_of_several_chunks_may_have_several_writers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One died behind its first chunk, the next wrote it whole, a zombie wrote its second again.
    Of one that nobody wrote whole the chunks are known, to be deleted; another's chunk is none."""
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", 64)
    whole, chunks = segment(8, random.Random(1).randbytes(170))
    part, begun = segment(9, random.Random(2).randbytes(170))
    assert (whole.chunks, part.chunks) == (3, 3)
    write(settings, records(packed(5, b"old")))
    write(settings, [chunks[0], *chunks, *begun[:2]])
    write(settings, records(packed(10, b"new", segments=(whole,))))
    write(settings, [chunks[1]])
    restored = restore(settings, "joiner", PARTITION, "e1")
    assert restored.manifest is not None
    assert restored.manifest.released == 10
    assert list(restored.segments) == [random.Random(1).randbytes(170)]
    assert restored.strays == (part._replace(chunks=2),)
    write(settings, [(chunks[1][0], begun[1][1])])
    assert found(settings) == (5, b"old")
