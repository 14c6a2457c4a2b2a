"""The host: what it owns, what it wants, where it goes on, and when it stops."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from tests.agents.hosting.bench import (
    SETTINGS,
    TOPICS,
    Bench,
    barrier_log,
    feed_logs,
    indexes,
    log_of,
)
from tests.agents.hosting.fakes import Stopped
from tests.streams.logs import fetch
from tidegate.agents.hosting import host as host_module
from tidegate.agents.hosting.partitions import Watermarks
from tidegate.agents.hosting.publisher import CROWDED_OUTPUTS
from tidegate.agents.hosting.restore import Restored
from tidegate.agents.hosting.snapshots import pack
from tidegate.schemas.marks import Tick
from tidegate.schemas.partitioner import partition_of
from tidegate.streams.folding import Checkpoint


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A host that owns nothing yet."""
    return Bench(monkeypatch)


def test_without_checkpoint_it_begins_where_the_logs_begin(bench: Bench) -> None:
    """Not at 0: retention may have passed there long ago."""
    bench.held = Watermarks((5, 0, 7), (9, 9, 9))
    assert bench.assign(indexes(0)) == {(TOPICS[0], 0): 5, (TOPICS[1], 0): 0, (TOPICS[2], 0): 7}


def test_it_goes_on_from_its_checkpoint(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions and state are those of the cut."""
    bench.assign(indexes(0))
    feed_logs(bench, 0, log_of(1_000, 1_100))
    fold = bench.host.partitions[0].fold
    merge = fold.merge
    checkpoint = Checkpoint(
        0, fold.released, tuple(merge.next_offsets), tuple(merge.log_times_ms), fold.dump(), ""
    )
    packed = pack("joiner", "e1", checkpoint)
    fresh = Bench(monkeypatch)
    fresh.restored = Restored(packed.manifest, checkpoint.state, (packed.manifest,), ())
    fresh.held = Watermarks((0, 0, 0), (4, 4, 4))
    offsets = fresh.assign(indexes(0))
    assert list(offsets.values()) == list(checkpoint.next_offsets)
    assert fresh.host.partitions[0].fold.dump() == checkpoint.state
    assert fresh.host.statistics.restored == 1


def test_kept_partitions_go_on_from_memory(bench: Bench) -> None:
    """A rebalance loads only what is new, and drops only what left."""
    bench.assign(indexes(0, 1))
    feed_logs(bench, 0, log_of(1_000))
    kept = bench.host.partitions[0]
    offsets = bench.assign(indexes(0, 2))
    assert bench.host.partitions[0] is kept
    assert set(bench.host.partitions) == {0, 2}
    assert offsets[TOPICS[0], 0] == 2
    assert bench.loads == 3


def test_a_take_over_that_was_given_up_changes_nothing_when_it_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread cannot be stopped: what it found late is old, and the partition's next take-over
    has gone on."""
    released = threading.Event()
    adopted: list[Restored] = []
    monkeypatch.setattr(
        bench.checkpoints, "adopt", lambda partition, restored, ids: adopted.append(restored)
    )

    def slow(*_: object) -> Restored:
        bench.loads += 1
        if bench.loads == 1:
            assert released.wait(30)
            return Restored(None, None, (), (9,))
        return bench.restored

    async def scenario() -> None:
        monkeypatch.setattr(host_module, "restore", slow)
        given_up = asyncio.create_task(bench.host.assign(indexes(0)))
        while bench.loads == 0:
            await asyncio.sleep(0.01)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        await bench.host.assign(indexes(0))
        live = bench.host.partitions[0]
        released.set()
        await asyncio.get_running_loop().run_in_executor(None, bench.host._threads.shutdown)
        assert bench.host.partitions[0] is live

    asyncio.run(scenario())
    assert adopted == [bench.restored]


def test_a_split_partition_is_refused(bench: Bench) -> None:
    """All topics of an index, or none: else pairs would never meet."""
    split = indexes(0) - {(TOPICS[1], 0)}
    with pytest.raises(Stopped) as stopped:
        bench.assign(split)
    assert "assigned without tidegate.shadow-predictions" in str(stopped.value.__cause__)


def test_what_is_full_is_not_wanted(bench: Bench) -> None:
    """Buffered and in flight together stay below the cap; a log nobody waits for is held back."""
    bench.assign(indexes(0))
    topic = TOPICS[0]
    assert bench.host.want(topic, 0, 99)
    assert not bench.host.want(topic, 0, 100)
    bench.host.feed(topic, 0, fetch([Tick(1_000), *[b"x"] * 60], 0, 61))
    assert bench.host.buffered(topic, 0) == 61
    assert bench.host.want(topic, 0, 38)
    assert not bench.host.want(topic, 0, 39)


def test_nothing_is_wanted_while_outputs_pile_up(bench: Bench) -> None:
    """Until the broker takes outputs, input waits."""
    bench.assign(indexes(0))
    bench.outputs.waiting = [("t", lambda *_: None, 0)] * (CROWDED_OUTPUTS + 1)
    assert not bench.host.want(TOPICS[0], 0, 0)


def test_foreign_partitions_are_nothing(bench: Bench) -> None:
    """A batch that crossed a rebalance is neither folded nor counted."""
    bench.assign(indexes(0))
    bench.host.feed(TOPICS[0], 3, fetch(log_of(1_000), 0, 2))
    assert not bench.host.want(TOPICS[0], 3, 0)
    assert bench.host.buffered(TOPICS[0], 3) == 0


def test_live_is_where_the_logs_ended(bench: Bench) -> None:
    """A partition is live once it was fed all there was when it came here."""
    bench.held = Watermarks((0, 0, 0), (2, 2, 4))
    bench.assign(indexes(0))
    feed_logs(bench, 0, log_of(1_000))
    assert not bench.host.partitions[0].live
    feed_logs(bench, 0, log_of(1_000, 1_100))
    assert bench.host.partitions[0].live


def test_settling_checkpoints_at_the_next_cut_and_stops_there(bench: Bench) -> None:
    """Behind the last checkpoint nothing is emitted, so the next owner repeats nothing."""

    async def scenario() -> None:
        await bench.host.assign(indexes(0))
        feed_logs(bench, 0, log_of(1_000))
        settling = asyncio.create_task(bench.host.settle(10.0))
        await asyncio.sleep(0)
        before = len(bench.outputs.records)
        feed_logs(bench, 0, log_of(1_000, 1_100, 1_200))
        assert await settling
        assert len(bench.outputs.records) == before
        # All three logs until their ticks of 1,100: two records each, the tick counts too.
        assert [released for released, _ in bench.manifests()] == [6]
        feed_logs(bench, 0, log_of(1_000, 1_100, 1_200, 1_300))
        assert len(bench.outputs.records) == before
        assert not bench.host.want(TOPICS[0], 0, 0)

    asyncio.run(scenario())


def test_settling_gives_up_when_nobody_ticks(bench: Bench) -> None:
    """Then the next owner repeats some outputs, byte for byte; nothing is lost."""

    async def scenario() -> None:
        await bench.host.assign(indexes(0))
        feed_logs(bench, 0, log_of(1_000))
        assert not await bench.host.settle(0.05)

    asyncio.run(scenario())


def test_checkpoints_come_due_by_time(bench: Bench) -> None:
    """Overdue partitions take one at their next cut; one being written is not asked again."""

    async def scenario() -> None:
        await bench.host.assign(indexes(0))
        feed_logs(bench, 0, log_of(1_000))
        bench.host.partitions[0].checkpointed_at = -1e12
        bench.host.keep_house()
        feed_logs(bench, 0, log_of(1_000, 1_100))
        await bench.checkpoints.settle()
        assert len(bench.manifests()) == 1
        assert bench.host.statistics.checkpoint_pause_seconds > 0

    asyncio.run(scenario())


def test_what_was_caught_up_with_is_checkpointed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition that caught up with a long backlog takes a checkpoint when it is live, whenever
    the next is due: a kill must not cost the same backlog again. A short one is not worth it."""

    async def scenario(records: int) -> list[int]:
        fresh = Bench(monkeypatch)
        fresh.held = Watermarks((0, 0, 0), (2 * records, 2 * records, 2 * records))
        await fresh.host.assign(indexes(0))
        backlog = log_of(*range(1_000, 1_000 + records))
        feed_logs(fresh, 0, backlog)
        assert fresh.host.partitions[0].live
        feed_logs(fresh, 0, [*backlog, *log_of(40_000, 40_100)])
        await fresh.checkpoints.settle()
        return [released for released, _ in fresh.manifests()]

    least = SETTINGS.checkpoint_records // host_module._CAUGHT_UP_SHARE
    found = asyncio.run(scenario(least))
    assert len(found) == 1
    assert found[0] >= least
    assert asyncio.run(scenario(least // 100)) == []


def test_a_foreign_barrier_parks_the_partition_and_then_the_worker(bench: Bench) -> None:
    """All is left for the other engine at its barrier; then this worker ends."""

    async def scenario() -> None:
        await bench.host.assign(indexes(0))
        feed_logs(bench, 0, barrier_log("e2"))
        assert bench.host.partitions[0].parked == "e2"
        before = len(bench.outputs.records)
        bench.host.keep_house()
        with pytest.raises(Stopped) as stopped:
            await bench.host.parking()
        assert "start the version the barrier names" in str(stopped.value.__cause__)
        assert [barrier for _, barrier in bench.manifests()] == ["e2"]
        assert len(bench.outputs.records) == before

    asyncio.run(scenario())


def test_a_parked_partition_does_not_stop_the_others(bench: Bench) -> None:
    """The old engine goes on until each of its partitions has met the barrier."""

    async def scenario() -> None:
        await bench.host.assign(indexes(0, 1))
        feed_logs(bench, 0, barrier_log("e2"))
        bench.host.keep_house()
        feed_logs(bench, 1, log_of(1_000, 1_100))
        assert bench.host.partitions[1].fold.released > 0
        assert not bench.host.partitions[1].halted

    asyncio.run(scenario())


def test_the_own_barrier_is_only_a_checkpoint(bench: Bench) -> None:
    """The engine the barrier names goes on over it."""

    async def scenario() -> None:
        await bench.host.assign(indexes(0))
        feed_logs(bench, 0, barrier_log("e1"))
        await bench.checkpoints.settle()
        assert not bench.host.partitions[0].halted
        assert "e1" in {barrier for _, barrier in bench.manifests()}

    asyncio.run(scenario())


def test_a_state_left_for_another_engine_is_parked_at_once(bench: Bench) -> None:
    """A restart of the old version does not go on behind the barrier."""
    state = empty_state(bench)
    checkpoint = Checkpoint(0, 0, (0, 0, 0), (0, 0, 0), state, "e2")
    manifest = pack("joiner", "e1", checkpoint).manifest
    bench.restored = Restored(manifest, state, (manifest,), ())
    bench.assign(indexes(0, 1))
    assert bench.host.partitions[0].halted
    assert not bench.host.want(TOPICS[0], 0, 0)


def empty_state(bench: Bench) -> bytes:
    """The state of a fold that has seen nothing."""
    bench.assign(indexes(3))
    state = bench.host.partitions[3].fold.dump()
    bench.assign(set())
    return state


@pytest.mark.parametrize(
    ("key", "misplaced"), [(lambda: key_in(2), 0), (lambda: key_in(1), 1)], ids=["right", "wrong"]
)
def test_a_foreign_partitioner_is_noticed(
    bench: Bench, caplog: pytest.LogCaptureFixture, key: Callable[[], bytes], misplaced: int
) -> None:
    """Sampled keys must be where murmur2 puts them."""
    with caplog.at_level(logging.ERROR):
        bench.host.sample(TOPICS[0], 2, key())
        bench.host.sample(TOPICS[0], 2, key())
    assert bench.host.statistics.misplaced_keys == 2 * misplaced
    assert len(caplog.records) == misplaced


def key_in(partition: int) -> bytes:
    """A key that belongs to a partition."""
    keys = (b"key-%d" % number for number in range(1_000))
    return next(key for key in keys if partition_of(key, SETTINGS.partitions) == partition)
