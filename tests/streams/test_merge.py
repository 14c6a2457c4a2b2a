"""Canonical merge: the order is a function of the logs alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.streams.logs import Log, fetch, log_times_ms
from tidegate.schemas.breaks import Break, gaps_of
from tidegate.schemas.marks import Marker, Tick
from tidegate.streams.merge import MAX_LOG_TIME_MS, LogGap, Merge

MINUTE_MS = 60_000


def released(merge: Merge) -> list[tuple[int, int, int]]:
    """(log time, rank, offset) of every value and marker that may be released, in order."""
    order = []
    while (head := merge.head()) is not None:
        rank, _ = head
        offset = merge.next_offsets[rank]
        _, marker, run = merge.release(rank, 10**9)
        if marker is not None:
            order.append((merge.log_times_ms[rank], rank, offset))
        if run is not None:
            order += [
                (run.log_time_ms, rank, run.first_offset + index)
                for index in range(run.stop - run.start)
            ]
    return order


ANNOUNCED = Marker("time-jump", {"to_ms": "7200000"})


def random_logs(source: random.Random, ranks: int = 3) -> list[Log]:
    """Logs with two tickers, one lagging, tombstones and markers."""
    logs: list[Log] = [[] for _ in range(ranks)]
    now = 1_000
    for step in range(source.choice((60, 200))):
        now += source.randrange(40)
        for log in logs:
            if step % 7 == 0:
                log.append(Tick(now))
            if source.random() < 0.1:
                log.append(Tick(now - source.randrange(200)))
            if source.random() < 0.05:
                log.append(Marker("barrier"))
        log = source.choice(logs)
        log += [None if source.random() < 0.1 else b"x" for _ in range(source.randrange(5))]
    return logs


@pytest.mark.parametrize("seed", range(60))
def test_the_order_is_a_plain_sort_whatever_the_fetches(seed: int) -> None:
    """Released order = sort by (log time, rank, offset), for random fetch sizes and overlaps."""
    source = random.Random(seed)
    logs = random_logs(source)
    plain = sorted(
        (time_ms, rank, offset)
        for rank, log in enumerate(logs)
        for offset, time_ms in enumerate(log_times_ms(log))
        if not isinstance(log[offset], Tick)
    )
    merge = Merge([0] * 3, [0] * 3)
    order = []
    while wanted := [r for r in range(3) if merge.fetch_offsets[r] < len(logs[r])]:
        rank = source.choice(wanted)
        first = max(0, merge.fetch_offsets[rank] - source.choice((0, 0, 5)))
        merge.feed(rank, fetch(logs[rank], first, source.choice((1, 7, 1_000))))
        order += released(merge)
    assert order == plain[: len(order)]
    left = [(log_times_ms(logs[r])[offset], r) for _, r, offset in plain[len(order) :]]
    bound = min((log_times_ms(log)[-1], rank) for rank, log in enumerate(logs))
    assert all(key > bound for key in left)


@pytest.mark.parametrize("seed", range(20))
def test_something_is_always_wanted(seed: int) -> None:
    """When nothing can be released, the blocking log has an empty buffer: no deadlock."""
    source = random.Random(seed)
    logs = random_logs(source)
    merge = Merge([0] * 3, [0] * 3)
    for _ in range(200):
        rank = source.randrange(3)
        merge.feed(rank, fetch(logs[rank], merge.fetch_offsets[rank], 3))
        released(merge)
        assert merge.buffered(merge.blocked_on()) == 0


@given(st.data())
def test_no_skew_stops_the_fetching_or_overfills_a_buffer(data: st.DataObject) -> None:
    """Whatever the logs hold and however uneven they are: a log is fetched only below its cap, in
    any order and size, and still everything that can be released is; no buffer grows beyond cap
    and one fetch."""
    draw = data.draw
    cap, size = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    lengths = draw(st.lists(st.integers(0, 120), min_size=2, max_size=4))
    logs: list[Log] = []
    for length in lengths:
        every = draw(st.integers(1, 40))
        rest: Log = [Tick(1_000 + at) if at % every == 0 else b"x" for at in range(1, length + 1)]
        logs.append([Tick(1_000), *rest])
    merge = Merge([0] * len(logs), [0] * len(logs))
    while True:
        left = [rank for rank, log in enumerate(logs) if merge.fetch_offsets[rank] < len(log)]
        wanted = [rank for rank in left if merge.buffered(rank) < cap]
        if not wanted:
            break
        rank = draw(st.sampled_from(wanted))
        merge.feed(rank, fetch(logs[rank], merge.fetch_offsets[rank], size))
        released(merge)
        assert merge.buffered(rank) < cap + size
    # Only a log at its end can hold the others back: they wait for what it has not got.
    assert merge.fetch_offsets[merge.blocked_on()] == len(logs[merge.blocked_on()])


def test_all_predictions_of_an_interval_precede_its_outcomes() -> None:
    """Inside an interval the rank decides, whatever came first on the wire."""
    logs: list[Log] = [[Tick(100), b"p", Tick(200)], [Tick(100), b"o", Tick(200)]]
    merge = Merge([0, 0], [0, 0])
    merge.feed(1, fetch(logs[1], 0, 3))
    assert released(merge) == []
    merge.feed(0, fetch(logs[0], 0, 3))
    assert released(merge) == [(100, 0, 1), (100, 1, 1)]


def test_a_log_that_never_had_a_tick_blocks() -> None:
    """Without a tick in every log there is no order yet, so nothing of a later interval goes."""
    merge = Merge([0, 0], [0, 0])
    merge.feed(0, fetch([Tick(100), b"p", Tick(200), b"p"], 0, 4))
    assert released(merge) == []
    assert merge.blocked_on() == 1


@pytest.mark.parametrize(
    ("log", "times_ms"),
    [
        ([Tick(1_000), Tick(900), b"x"], [1_000]),
        ([Tick(1_000), Tick(1_000), b"x"], [1_000]),
        ([Tick(50 * 365 * 24 * 60 * MINUTE_MS), b"x"], [50 * 365 * 24 * 60 * MINUTE_MS]),
        ([Tick(1_000), Tick(1_000 + 10 * MINUTE_MS), b"x"], [1_000 + 10 * MINUTE_MS]),
        ([Tick(1_000), Tick(1_001 + 10 * MINUTE_MS), b"x"], [1_000]),
        ([Tick(MAX_LOG_TIME_MS + 1), b"x"], [0]),
        ([Tick(5), ANNOUNCED, Tick(7_200_000), b"x"], [5, 7_200_000]),
        ([Tick(5), Marker("time-jump", {"to_ms": "soon"}), Tick(7_200_000), b"x"], [5, 5]),
        ([Tick(5), Marker("time-jump", {"to_ms": "9" * 5_000}), Tick(7_200_000), b"x"], [5, 5]),
        ([Tick(5), Marker("time-jump"), Tick(7_200_000), b"x"], [5, 5]),
        ([Tick(5), ANNOUNCED, Tick(9_000_000), b"x"], [5, 5]),
    ],
    ids=[
        "lagging", "equal", "first-counts", "ten-minutes", "broken-clock", "beyond-any-time",
        "announced", "announced-badly", "announced-hugely", "announced-nothing", "beyond-announced",
    ],
)  # fmt: skip
def test_which_ticks_move_log_time(log: Log, times_ms: list[int]) -> None:
    """Log time is the running maximum; a far jump counts only when a marker announced it."""
    merge = Merge([0], [0])
    merge.feed(0, fetch(log, 0, len(log)))
    assert [time_ms for time_ms, _, _ in released(merge)] == times_ms


def test_an_announced_jump_survives_a_restart_between_marker_and_tick() -> None:
    """The announcement is part of the position: a restart right behind it changes nothing."""
    log: Log = [Tick(5), ANNOUNCED, Tick(7_200_000), b"x"]
    before = Merge([0], [0])
    before.feed(0, fetch(log, 0, 2))
    released(before)
    after = Merge(before.next_offsets, before.log_times_ms, before.jumps_ms)
    after.feed(0, fetch(log, 2, 2))
    assert released(after) == [(7_200_000, 0, 3)]


def test_a_second_announcement_does_not_stay_behind_as_a_licence() -> None:
    """A jump that was made does not excuse a broken clock later: announcements grow old."""
    log: Log = [Tick(5), ANNOUNCED, Tick(7_200_000), ANNOUNCED, Tick(10_000_000), b"x"]
    merge = Merge([0], [0])
    merge.feed(0, fetch(log, 0, len(log)))
    assert released(merge)[-1] == (7_200_000, 0, 5)


def test_a_hole_stops_the_merge() -> None:
    """Missing records are an error that names rank and offsets; going on would be a guess."""
    merge = Merge([0, 5], [0, 0])
    with pytest.raises(
        LogGap, match=r"rank 1: offset 5 is needed next, but 9 came; 4 records"
    ) as info:
        merge.feed(1, fetch([b"x"] * 12, 9, 3))
    assert (info.value.rank, info.value.expected, info.value.found) == (1, 5, 9)


LOST = [Break("t", 0, 2, 9, "", "", 0), Break("t", 0, 9, 10, "", "", 0)]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_an_accepted_loss_is_passed_where_it_stands_in_the_order(size: int) -> None:
    """Its marker comes at the log time before it, and the log goes on behind it, with no record
    of it; losses may follow one another, and begin where a log is taken up."""
    first: Log = [Tick(100), b"a", *[None] * 8, b"b", Tick(200)]
    logs: list[Log] = [first, [Tick(100), b"o", Tick(150)]]
    gaps = {0: gaps_of(LOST, "t", 0)}
    merge = Merge([0, 0], [0, 0], None, gaps)
    order = []
    merge.feed(0, fetch(logs[0][:2], 0, 2))
    assert merge.fetch_offsets[0] == merge.after(0, 2) == 10
    merge.feed(1, fetch(logs[1], 0, 3))
    order += released(merge)
    for begin in range(10, 12, size):
        merge.feed(0, fetch(logs[0], begin, size))
        order += released(merge)
    assert order == [(100, 0, 1), (100, 0, 2), (100, 0, 9), (100, 0, 10), (100, 1, 1)]
    assert merge.next_offsets == [12, 3] or merge.buffered(0) == 1
    taken_up = Merge([2, 1], [100, 100], None, gaps)
    assert taken_up.fetch_offsets == [10, 1]
    assert released(taken_up) == [(100, 0, 2), (100, 0, 9)]
    assert taken_up.next_offsets == [10, 1]


def test_a_loss_that_was_not_accepted_still_stops_the_merge() -> None:
    """Of the next hole, one that begins elsewhere, or ends elsewhere, nobody has said anything."""
    merge = Merge([2], [0], None, {0: gaps_of(LOST[:1], "t", 0)})
    with pytest.raises(LogGap, match="offset 9 is needed next, but 11 came"):
        merge.feed(0, fetch([None] * 11 + [b"x"], 11, 1))
    with pytest.raises(LogGap):
        Merge([3], [0], None, {0: gaps_of(LOST, "t", 0)}).feed(0, fetch([b"x"] * 12, 10, 1))


def test_what_was_fed_before_is_trimmed() -> None:
    """A fetch that overlaps, or lies wholly before, adds only what is new, marks included."""
    log: Log = [Tick(100), b"a", Tick(200), b"b"]
    merge = Merge([0], [0])
    merge.feed(0, fetch(log, 0, 3))
    merge.feed(0, fetch(log, 0, 2))
    merge.feed(0, fetch(log, 0, 4))
    assert merge.buffered(0) == 4
    assert released(merge) == [(100, 0, 1), (200, 0, 3)]
    assert merge.buffered(0) == 0


def test_a_release_is_split_at_its_limit() -> None:
    """A segment may go in parts; offsets and indices stay right."""
    merge = Merge([10], [7])
    merge.feed(0, fetch([None] * 10 + [b"a", b"b", b"c"], 10, 3))
    first, second = merge.release(0, 2), merge.release(0, 2)
    assert [part[0] for part in (first, second)] == [2, 1]
    assert first[2] is not None
    assert second[2] is not None
    assert (first[2].first_offset, first[2].start, first[2].stop) == (10, 0, 2)
    assert (second[2].first_offset, second[2].start, second[2].stop) == (12, 2, 3)
