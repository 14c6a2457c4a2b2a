"""Writing checkpoints: chunks, outputs, manifest, deletions, in this order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.agents.hosting.fakes import FakeProducer, raise_stop
from tidegate.agents.hosting.checkpoints import Checkpoints
from tidegate.agents.hosting.publisher import Publisher
from tidegate.agents.hosting.restore import Restored
from tidegate.agents.hosting.snapshots import (
    Segment,
    compressed_chunks,
    decode_manifest,
    pack,
    read_key,
    read_segment_key,
)
from tidegate.agents.settings import Settings
from tidegate.streams.folding import Checkpoint, Sealed
from tidegate.streams.output import Output

OUTPUT = Output("observations", 0, b"k", b"v")


def checkpoint(
    released: int, state: bytes = b"state", segments: tuple[str, ...] = ()
) -> Checkpoint:
    """A checkpoint of partition 0."""
    return Checkpoint(0, released, (released,), (1,), state, "", segments)


class Bench:
    """Checkpoints over two fake producers, one for outputs and one for checkpoints."""

    def __init__(self) -> None:
        self.outputs, self.snapshots = FakeProducer(), FakeProducer()
        self.publisher = Publisher(Settings(), "joiner", raise_stop, self.outputs)
        self.checkpoints = Checkpoints(
            Settings(), "joiner", "e1", self.publisher, fail=raise_stop, producer=self.snapshots
        )

    def written(self) -> list[tuple[int, str]]:
        """(released, what) of each record: `chunk`, `manifest`, `deleted`, or digest and fate of a
        segment."""
        found = list[tuple[int, str]]()
        for _, value, arguments in self.snapshots.records:
            name = read_key(arguments["key"])
            if name is None:
                segment = read_segment_key(arguments["key"])
                assert segment is not None
                fate = "deleted" if value is None else "there"
                found.append((segment[2], f"{segment[3]} {fate}"))
                continue
            what = "chunk" if name[3] is not None else "manifest"
            found.append((name[2], "deleted" if value is None else what))
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the writing go on until a condition holds."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)


def test_the_manifest_waits_for_the_outputs() -> None:
    """No checkpoint vouches for outputs that may not have arrived."""

    async def scenario() -> None:
        bench = Bench()
        bench.publisher.emit(0, OUTPUT)
        bench.checkpoints.take(checkpoint(10))
        await bench.until(lambda: bench.written() == [(10, "chunk")])
        bench.snapshots.acknowledge()
        await asyncio.sleep(0.05)
        assert bench.written() == [(10, "chunk")]
        assert bench.checkpoints.busy(0)
        bench.outputs.acknowledge()
        await bench.until(lambda: bench.written() == [(10, "chunk"), (10, "manifest")])
        bench.snapshots.acknowledge()
        await bench.checkpoints.settle()
        assert not bench.checkpoints.busy(0)
        assert bench.checkpoints.statistics.written == 1

    asyncio.run(scenario())


def test_outputs_after_the_cut_are_not_waited_for() -> None:
    """A checkpoint is about what came before it."""

    async def scenario() -> None:
        bench = Bench()
        bench.snapshots.at_once = True
        bench.checkpoints.take(checkpoint(10))
        bench.publisher.emit(0, OUTPUT)
        await bench.checkpoints.settle()
        assert bench.written() == [(10, "chunk"), (10, "manifest")]

    asyncio.run(scenario())


def test_the_last_two_are_kept() -> None:
    """Older ones are deleted once the new one is vouched for, chunks before manifest."""

    async def scenario() -> None:
        bench = Bench()
        bench.snapshots.at_once = True
        for released in (10, 20, 30):
            bench.checkpoints.take(checkpoint(released))
            await bench.checkpoints.settle()
        written = [(released, what) for released, what in bench.written() if what != "chunk"]
        assert written == [
            (10, "manifest"),
            (20, "manifest"),
            (30, "manifest"),
            (10, "deleted"),
            (10, "deleted"),
        ]

    asyncio.run(scenario())


def test_what_was_found_in_the_topic_is_deleted_too() -> None:
    """A new owner cleans up after the one before."""

    async def scenario() -> None:
        bench = Bench()
        bench.snapshots.at_once = True
        known = tuple(pack("joiner", "e1", checkpoint(at)).manifest for at in (1, 2, 3))
        bench.checkpoints.adopt(0, Restored(known[-1], b"state", known, ()))
        bench.checkpoints.take(checkpoint(10))
        await bench.checkpoints.settle()
        deleted = {released for released, what in bench.written() if what == "deleted"}
        assert deleted == {1, 2}

    asyncio.run(scenario())


def test_a_zombie_deletes_only_what_is_older_than_its_own() -> None:
    """One that lags behind what the topic holds must not delete what is newer."""

    async def scenario() -> None:
        bench = Bench()
        bench.snapshots.at_once = True
        known = tuple(pack("joiner", "e1", checkpoint(at)).manifest for at in (20, 30))
        bench.checkpoints.adopt(0, Restored(known[-1], b"state", known, ()))
        bench.checkpoints.take(checkpoint(10))
        await bench.checkpoints.settle()
        assert not any(what == "deleted" for _, what in bench.written())

    asyncio.run(scenario())


def test_equal_cuts_with_other_digests_are_an_alarm() -> None:
    """Whoever took the other one: this worker or another has diverged."""

    async def scenario() -> None:
        bench = Bench()
        bench.snapshots.at_once = True
        known = (pack("joiner", "e1", checkpoint(10, b"theirs")).manifest,)
        bench.checkpoints.adopt(0, Restored(None, None, known, ()))
        bench.checkpoints.take(checkpoint(10, b"ours"))
        await bench.checkpoints.settle()
        assert bench.checkpoints.statistics.conflicts == 1

    asyncio.run(scenario())


def test_conflicts_found_in_the_topic_are_counted() -> None:
    """Divergence of two earlier owners shows at the next restore."""
    bench = Bench()
    bench.checkpoints.adopt(0, Restored(None, None, (), (10, 20)))
    assert bench.checkpoints.statistics.conflicts == 2


def test_the_manifest_waits_for_the_segments() -> None:
    """No checkpoint refers to segments that may not have arrived; they wait for nobody."""

    async def scenario() -> None:
        bench = Bench()
        bench.publisher.emit(0, OUTPUT)
        bench.checkpoints.keep(Sealed(0, 8, {"aa": b"content"}))
        bench.checkpoints.take(checkpoint(10, segments=("aa",)))
        await bench.until(lambda: bench.written() == [(8, "aa there")])
        await asyncio.sleep(0.05)
        assert bench.written() == [(8, "aa there")]
        bench.snapshots.acknowledge()
        await bench.until(lambda: bench.written() == [(8, "aa there"), (10, "chunk")])
        bench.outputs.acknowledge()
        bench.snapshots.acknowledge()
        await bench.until(lambda: (10, "manifest") in bench.written())
        bench.snapshots.acknowledge()
        await bench.checkpoints.settle()
        (value,) = [
            value for _, value, arguments in bench.snapshots.records
            if arguments["key"].endswith(b"/m")
        ]  # fmt: skip
        manifest = decode_manifest(value or b"")
        assert manifest is not None
        assert manifest.segments == (Segment(8, "aa", len(compressed_chunks(b"content"))),)

    asyncio.run(scenario())


def test_segments_are_written_once_and_deleted_with_their_last_checkpoint() -> None:
    """Checkpoints share them; what was found in the topic is deleted like what was written."""

    async def scenario() -> None:
        bench = Bench()
        bench.snapshots.at_once = True
        old = (Segment(1, "old", 1),)
        found = pack("joiner", "e1", checkpoint(1, segments=("old",)), segments=old)
        strays = (Segment(2, "stray", 1),)
        known = Restored(found.manifest, b"state", (found.manifest,), (), (), strays)
        bench.checkpoints.adopt(0, known)
        bench.checkpoints.keep(Sealed(0, 8, {"aa": b"content"}))
        for released, segments in ((10, ("old", "aa")), (20, ("aa",)), (30, ()), (40, ())):
            bench.checkpoints.take(checkpoint(released, segments=segments))
            await bench.checkpoints.settle()
        told = [what for _, what in bench.written() if " " in what]
        assert told == ["aa there", "stray deleted", "old deleted", "aa deleted"]

    asyncio.run(scenario())


def test_input_waits_while_segments_pile_up() -> None:
    """A broker that takes nothing must not fill this process's memory."""

    async def scenario() -> None:
        bench = Bench()
        for number in range(10):
            assert not bench.checkpoints.crowded
            bench.checkpoints.keep(Sealed(0, number, {f"{number}": bytes(7_000_000)}))
        assert bench.checkpoints.crowded
        bench.snapshots.at_once = True
        await bench.checkpoints.settle()
        assert not bench.checkpoints.crowded

    asyncio.run(scenario())
