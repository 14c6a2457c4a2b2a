"""The ticker: time that only rises, on a grid, and that no clock moves alone."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import pairwise

import pytest

from tests.agents.hosting.fakes import FakeProducer
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.ticker import LogClock, Ticker
from tidegate.schemas.errors import Unreachable
from tidegate.schemas.marks import Marker, Tick, read_mark
from tidegate.schemas.topics import TOPICS


@dataclass
class Clocks:
    """A host's two clocks and a broker's, all in ms."""

    wall: int = 1_700_000_000_000
    monotonic: int = 5_000
    broker: int | None = 1_700_000_000_000

    def log_clock(self) -> LogClock:
        """A log clock over these."""
        return LogClock(lambda: self.broker, lambda: self.wall, lambda: self.monotonic)

    def pass_ms(self, ms: int) -> None:
        """Real time passes on all of them."""
        self.wall += ms
        self.monotonic += ms
        self.broker = self.broker + ms if self.broker is not None else None


def test_the_host_is_believed_when_the_broker_agrees() -> None:
    """Small differences are not corrected: they would make ticks jump."""
    clocks = Clocks(broker=1_700_000_000_900)
    clock = clocks.log_clock()
    clocks.pass_ms(40)
    assert clock.now_ms() == 1_700_000_000_040
    assert clock.offset_ms == 900


def test_a_wrong_host_follows_the_broker() -> None:
    """A host a day ahead must not freeze every log at tomorrow."""
    clocks = Clocks(wall=1_700_086_400_000)
    clock = clocks.log_clock()
    clocks.pass_ms(40)
    assert clock.now_ms() == 1_700_000_000_040


def test_a_clock_that_is_set_moves_nothing_by_itself() -> None:
    """Time goes on by the monotonic clock until the broker was asked."""
    clocks = Clocks()
    clock = clocks.log_clock()
    clocks.wall += 86_400_000
    clocks.pass_ms(100)
    assert clock.disturbed
    assert clock.now_ms() == 1_700_000_000_100
    clock.compare()
    assert not clock.disturbed
    assert clock.now_ms() == 1_700_000_000_100


def test_a_rightly_set_clock_is_followed() -> None:
    """After the host slept, wall clock and broker agree: ticks go on from there."""
    clocks = Clocks()
    clock = clocks.log_clock()
    clocks.wall += 3_600_000
    assert clocks.broker is not None
    clocks.broker += 3_600_000
    clock.compare()
    assert clock.now_ms() == 1_700_003_600_000


def test_without_a_witness_the_host_is_believed() -> None:
    """The embedded broker has no clock of its own."""
    clock = Clocks(broker=None).log_clock()
    assert clock.now_ms() == 1_700_000_000_000
    assert clock.offset_ms == 0


def test_ticks_stand_on_a_grid() -> None:
    """Lateness of one does not move it or the next; missed ones are not made up for."""
    clocks = Clocks()
    made = ticker(clocks, FakeProducer())
    times = [made.tick()]
    for late_ms in (119, 83, 99, 450):
        clocks.pass_ms(late_ms)
        times.append(made.tick())
    steps = [after - before for before, after in pairwise(times)]
    assert all(time_ms % 100 == 0 for time_ms in times)
    assert steps == [100, 100, 100, 400]


def ticker(clocks: Clocks, producer: FakeProducer) -> Ticker:
    """A ticker over fake clocks and a fake producer."""
    return Ticker(Settings(), producer, clocks.log_clock())


def test_every_partition_of_every_merged_topic_gets_the_tick() -> None:
    """One tick is as many records as there are merged topic-partitions, all of one log time."""
    producer = FakeProducer()
    made = ticker(Clocks(), producer)
    log_time_ms = made.tick()
    places = {(topic, arguments["partition"]) for topic, _, arguments in producer.records}
    assert len(places) == len(producer.records) == 4 * sum(t.ticks for t in TOPICS.values())
    marks = {read_mark(arguments["headers"]) for _, _, arguments in producer.records}
    assert marks == {Tick(log_time_ms)}
    assert all(value is None for _, value, _ in producer.records)


def test_ticks_rise_even_when_the_clock_does_not() -> None:
    """Two ticks within a millisecond, or after the clock went back, still rise by one."""
    clocks = Clocks()
    made = ticker(clocks, FakeProducer())
    first = made.tick()
    clocks.monotonic -= 50
    assert [made.tick(), made.tick()] == [first + 1, first + 2]


def test_a_jump_is_announced() -> None:
    """Before the first tick: perhaps nobody ticked for an hour."""
    producer = FakeProducer()
    made = ticker(Clocks(), producer)
    made.announce()
    marks = [read_mark(arguments["headers"]) for _, _, arguments in producer.records]
    assert {mark.kind for mark in marks if isinstance(mark, Marker)} == {"time-jump"}


def test_a_full_queue_drops_ticks() -> None:
    """An old tick says nothing the next does not: it is never waited for."""
    made = ticker(Clocks(), FakeProducer(room=3))
    made.tick()
    assert made.statistics.failed > 0


def test_two_tickers_make_one_time(settings: Settings) -> None:
    """On a broker: ticks above the running maximum are never further apart than one ticker's."""
    stopped = threading.Event()
    tickers = [Ticker(settings), Ticker(settings)]
    threads = [threading.Thread(target=each.run, args=(stopped,)) for each in tickers]
    for thread in threads:
        thread.start()
    stopped.wait(1.5)
    stopped.set()
    for thread in threads:
        thread.join()
    for name in ("predictions", "control"):
        records = list(read_topic(settings, name, [0]))
        marks = [read_mark(record.headers) for record in records]
        times = [mark.log_time_ms for mark in marks if isinstance(mark, Tick)]
        assert len(times) >= 20
        assert sum(isinstance(mark, Marker) for mark in marks) == 2
        rising = [time for index, time in enumerate(times) if time > max(times[:index], default=0)]
        assert len(rising) >= 10
    assert sum(each.statistics.failed for each in tickers) == 0


def test_no_broker_is_said() -> None:
    """Without a broker to compare with, the ticker does not start."""
    nowhere = Settings(kafka={"bootstrap.servers": "127.0.0.1:9"})
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        Ticker(nowhere)
