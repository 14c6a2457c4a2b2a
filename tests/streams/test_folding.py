"""Folding: cuts and checkpoints are functions of the canonical order alone."""

from __future__ import annotations

import json
import random

import pytest

from tests.streams.logs import Log, feed_all, fetch, tick_all
from tidegate.schemas.breaks import Break, gaps_of
from tidegate.schemas.errors import UnknownSchemaId
from tidegate.schemas.marks import Marker, Tick
from tidegate.streams import folding
from tidegate.streams.folding import Checkpoint, PartitionFold
from tidegate.streams.merge import Run


class Journal:
    """A handler that writes down what it is told; its state is all it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def advance(self, log_time_ms: int) -> None:
        self.lines.append(f"advance {log_time_ms}")

    def records(self, run: Run) -> None:
        for index in range(run.start, run.stop):
            offset = run.first_offset + index - run.start
            self.lines.append(f"{run.rank}/{offset} at {run.log_time_ms}: {run.values[index]!r}")

    def marker(self, rank: int, offset: int, marker: Marker) -> None:
        self.lines.append(f"{rank}/{offset}: {marker.kind}")

    def dump(self) -> bytes:
        return json.dumps(self.lines).encode()

    def load(self, state: bytes) -> None:
        self.lines = json.loads(state)

    def counters(self) -> dict[str, int]:
        return {"lines": len(self.lines)}


def some_logs(seed: int) -> list[Log]:
    """Two logs with ticks every few records and now and then a barrier."""
    source = random.Random(seed)
    logs: list[Log] = [[], []]
    for step in range(200):
        if step % 5 == 0:
            tick_all(logs, 1_000 + step)
        if step % 60 == 31:
            for log in logs:
                log.append(Marker("barrier", {"engine": f"engine-{step}"}))
        source.choice(logs).append(b"%d" % step)
    tick_all(logs, 2_000)
    return logs


def folded(
    logs: list[Log], size: int, checkpoint_records: int = 10**9, seed: int | None = None
) -> tuple[PartitionFold, Journal, list[Checkpoint]]:
    """A fold that has seen the logs in fetches of `size`."""
    journal, taken = Journal(), list[Checkpoint]()
    fold = PartitionFold(3, len(logs), journal, taken.append, checkpoint_records)
    feed_all(fold, logs, lambda: size, None if seed is None else random.Random(seed))
    return fold, journal, taken


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_the_handler_is_told_the_same_whatever_the_fetches(size: int) -> None:
    """Time, records and markers come in the same order for every fetch size."""
    logs = some_logs(1)
    _, expected, _ = folded(logs, 50)
    fold, journal, _ = folded(logs, size, seed=size)
    assert journal.lines == expected.lines
    assert fold.released == sum(map(len, logs)) - 1  # the last tick of the last log waits


def test_time_moves_before_the_records_of_its_interval() -> None:
    """`advance` comes once per interval, before its first record; records keep their values."""
    logs: list[Log] = [[Tick(10), b"p", None, Tick(20)], [Tick(10), b"o", Tick(20), b"late"]]
    _, journal, _ = folded(logs, 10)
    assert journal.lines == [
        "advance 10", "0/1 at 10: b'p'", "0/2 at 10: None", "1/1 at 10: b'o'", "advance 20",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_equal_cuts_have_equal_checkpoints(size: int) -> None:
    """Whoever takes the checkpoint of a cut, and however it fetched, its bytes are the same."""
    logs = some_logs(2)
    _, _, all_cuts = folded(logs, 13, checkpoint_records=1)
    by_name = {checkpoint.released: checkpoint for checkpoint in all_cuts}
    _, _, taken = folded(logs, size, checkpoint_records=30, seed=size)
    assert len(taken) > 3
    for checkpoint in taken:
        expected = by_name[checkpoint.released]
        assert checkpoint.state == expected.state
        assert checkpoint.next_offsets == expected.next_offsets
        assert checkpoint.log_times_ms == expected.log_times_ms


def test_every_checkpoint_goes_on_to_the_same_end() -> None:
    """Loading any checkpoint and going on tells the handler what it would have been told."""
    logs = some_logs(3)
    fold, expected, taken = folded(logs, 11, checkpoint_records=1)
    assert len(taken) > 20
    for checkpoint in taken:
        journal = Journal()
        again = PartitionFold(3, 2, journal)
        again.load(checkpoint.state)
        assert again.dump() == checkpoint.state
        assert again.released == checkpoint.released
        feed_all(again, logs, lambda: 9)
        assert journal.lines == expected.lines
        assert again.dump() == fold.dump()


def test_a_long_interval_is_cut_by_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody ticks, cuts come by count, so that a checkpoint can still be taken."""
    monkeypatch.setattr(folding, "CUT_RECORDS", 10)
    log: Log = [Tick(100), *[b"x"] * 34]
    _, _, taken = folded([log], 1_000, checkpoint_records=1)
    assert [checkpoint.released for checkpoint in taken] == [10, 20, 30]
    _, _, one_by_one = folded([log], 1, checkpoint_records=1)
    assert one_by_one == taken
    journal = Journal()
    again = PartitionFold(3, 1, journal, one_by_one.append, 1)
    again.load(taken[0].state)
    again.feed(0, fetch(log, 0, 100))
    again.drain()
    assert one_by_one[3:] == taken[1:]


def test_a_checkpoint_is_taken_when_asked_for_at_the_next_cut() -> None:
    """A request is honoured once, at a cut, never in the middle of an interval."""
    taken: list[Checkpoint] = []
    fold = PartitionFold(0, 1, Journal(), taken.append, 10**9)
    log: Log = [Tick(10), b"a", b"b", Tick(20), b"c", Tick(30)]
    fold.feed(0, fetch(log, 0, 2))
    fold.drain()
    fold.request_checkpoint()
    fold.feed(0, fetch(log, 2, 9))
    fold.drain()
    assert [(it.released, it.next_offsets, it.log_times_ms) for it in taken] == [(3, (3,), (10,))]


def test_a_barrier_forces_a_checkpoint_that_names_its_engine() -> None:
    """An engine barrier is followed by a checkpoint at the next cut, once."""
    barrier = Marker("barrier", {"engine": "abc"})
    log: Log = [Tick(10), b"a", barrier, b"b", Tick(20), Tick(30), Marker("barrier"), Tick(40)]
    _, journal, taken = folded([log], 100)
    assert [(it.released, it.barrier) for it in taken] == [(4, "abc"), (7, "unnamed")]
    assert "0/2: barrier" in journal.lines


def test_without_a_listener_no_checkpoint_is_built() -> None:
    """An audit folds without paying for checkpoints."""
    fold = PartitionFold(0, 1, Journal(), None, 1)
    fold.request_checkpoint()
    fold.feed(0, fetch([Tick(10), b"a", Tick(20)], 0, 3))
    assert fold.drain() == 3
    assert fold.log_time_ms == 20


def test_a_fold_may_begin_where_the_logs_begin() -> None:
    """Logs whose oldest records are deleted begin at a later offset; that is no gap."""
    journal = Journal()
    fold = PartitionFold(0, 1, journal)
    fold.start_at((2,))
    fold.feed(0, fetch([None, None, Tick(10), b"a"], 2, 2))
    fold.drain()
    assert journal.lines == ["advance 10", "0/3 at 10: b'a'"]


def test_a_checkpoint_beside_an_accepted_loss_goes_on_the_same() -> None:
    """Before it, at it and behind it: a loss is one record of the order, told as a marker."""
    logs = some_logs(4)
    gaps = {1: gaps_of([Break("t", 3, 40, 90, "", "", 0)], "t", 3)}

    def through(state: bytes | None) -> tuple[PartitionFold, Journal, list[Checkpoint]]:
        journal, taken = Journal(), list[Checkpoint]()
        fold = PartitionFold(3, 2, journal, taken.append, 1)
        fold.accept(gaps)
        if state is not None:
            fold.load(state)
        while wanted := [r for r in (1, 0) if fold.merge.fetch_offsets[r] < len(logs[r])]:
            for rank in wanted:
                first = fold.merge.fetch_offsets[rank]
                count = min(7, 40 - first) if rank == 1 and first < 40 else 7
                fold.feed(rank, fetch(logs[rank], first, count))
                fold.drain()
        return fold, journal, taken

    fold, whole, taken = through(None)
    assert whole.lines.count("1/40: skip") == 1
    lost = tuple(f"1/{offset} " for offset in range(40, 90))
    assert not any(line.startswith(lost) for line in whole.lines)
    assert len({checkpoint.next_offsets[1] for checkpoint in taken}) > 10
    for checkpoint in taken:
        again, journal, _ = through(checkpoint.state)
        assert journal.lines == whole.lines
        assert again.dump() == fold.dump()


class Waiting(Journal):
    """A journal that cannot read records of an id that is not bound; `calls` counts every try."""

    def __init__(self, bound: set[bytes]) -> None:
        super().__init__()
        self.bound = bound

    def records(self, run: Run) -> None:
        for value in run.values[run.start : run.stop]:
            if value is not None and value not in self.bound:
                raise UnknownSchemaId(int(value))
        super().records(run)


def test_what_cannot_be_read_yet_is_as_if_nothing_had_happened() -> None:
    """Every unknown id stops before its run, and changes neither state nor outputs: once bound,
    the fold goes on to the same journal, with the same checkpoints, as if all had been bound."""
    logs = some_logs(5)
    values = {record for log in logs for record in log if isinstance(record, bytes)}
    taken: list[Checkpoint] = []
    plain = PartitionFold(0, 2, Waiting(values), taken.append, 40)
    feed_all(plain, logs, lambda: 1_000)
    handler, again = Waiting(set()), list[Checkpoint]()
    fold = PartitionFold(0, 2, handler, again.append, 40)
    for rank, log in enumerate(logs):
        fold.feed(rank, fetch(log, 0, len(log)))
    waited = 0
    while True:
        try:
            fold.drain()
            break
        except UnknownSchemaId as unknown:
            waited += 1
            state = fold.dump()
            with pytest.raises(UnknownSchemaId):
                fold.drain()
            assert fold.dump() == state
            handler.bound.add(b"%d" % unknown.schema_id)
    assert waited == len(values)
    assert again == taken
    assert fold.dump() == plain.dump()
    assert [fold.merge.buffered(rank) for rank in (0, 1)] == [
        plain.merge.buffered(rank) for rank in (0, 1)
    ]
