"""The ticker: time that only rises, on a grid, and that no clock moves alone."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import pairwise

import pytest
from confluent_kafka import KafkaError

from tests.agents.hosting.fakes import FakeProducer
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.ticker import LogClock, Ticker
from tidegate.schemas.errors import Unreachable
from tidegate.schemas.marks import Mark, Marker, Tick, read_mark
from tidegate.schemas.topics import TOPICS
from tidegate.streams.merge import Fetched, Merge


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
    made.tick()
    producer.records.clear()
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


def test_an_hour_back_moves_no_log_time_back() -> None:
    """Host and broker are set an hour back: ticks rise by one each, and folds go on from where
    they were."""
    clocks, producer = Clocks(), FakeProducer()
    made = ticker(clocks, producer)
    first = made.tick()
    clocks.wall -= 3_600_000
    assert clocks.broker is not None
    clocks.broker -= 3_600_000
    made.clock.compare()
    later = []
    for _ in range(20):
        clocks.pass_ms(100)
        later.append(made.tick())
    assert later == [first + number for number in range(1, 21)]
    assert log_time_of(log_of(producer, ("tidegate.outcomes", 0))) == first + 20


def log_of(producer: FakeProducer, place: tuple[str, int]) -> list[Mark | None]:
    """What was written into a topic-partition, in order."""
    return [
        read_mark(arguments["headers"])
        for topic, _, arguments in producer.records
        if (topic, arguments["partition"]) == place
    ]


def log_time_of(log: list[Mark | None]) -> int:
    """Log time after a log, by the merge that folds use."""
    merge = Merge([0], [0])
    marks = [(index, mark) for index, mark in enumerate(log) if mark is not None]
    merge.feed(0, Fetched(0, [None] * len(log), marks, lambda index: 0))
    while (head := merge.head()) is not None:
        merge.release(head[0], 10**9)
    return merge.log_times_ms[0]


PLACE = ("tidegate.predictions", 2)


def test_folds_follow_a_ticker_that_comes_after_an_hour() -> None:
    """Perhaps nobody ticked for so long: what a new ticker writes is believed at once."""
    clocks, first, second = Clocks(), FakeProducer(), FakeProducer()
    ticker(clocks, first).tick()
    clocks.pass_ms(3_600_000)
    later_ms = ticker(clocks, second).tick()
    assert log_time_of(log_of(first, PLACE) + log_of(second, PLACE)) == later_ms


def test_folds_follow_a_ticker_that_stood_still() -> None:
    """A process stopped for an hour goes on with an announcement, without any clock having moved
    against another."""
    clocks, producer = Clocks(), FakeProducer()
    made = ticker(clocks, producer)
    made.tick()
    clocks.pass_ms(3_600_000)
    assert not made.clock.disturbed
    later_ms = made.tick()
    assert log_time_of(log_of(producer, PLACE)) == later_ms


def test_folds_follow_a_ticker_whose_broker_was_away() -> None:
    """Ticks that did not arrive for an hour are as good as none: the first that does is announced,
    there and only there."""
    clocks, producer = Clocks(), FakeProducer()
    made = ticker(clocks, producer)
    made.tick()
    producer.flush(1)
    reached = len(producer.records)
    for _ in range(120):
        clocks.pass_ms(30_000)
        made.tick()
        while producer.waiting:
            here = producer.waiting[0][0] == PLACE[0]
            producer.acknowledge(0, KafkaError(KafkaError._MSG_TIMED_OUT) if here else None)
    arrived = [each for each in producer.records[reached:] if each[0] != PLACE[0]]
    producer.records[reached:] = arrived
    later_ms = made.tick()
    for place in (PLACE, ("tidegate.control", 0)):
        assert log_time_of(log_of(producer, place)) == later_ms
    elsewhere = log_of(producer, ("tidegate.control", 0))
    assert [type(mark).__name__ for mark in elsewhere].count("Marker") == 1


def test_an_announcement_is_made_once() -> None:
    """A standing licence to jump would be one for the next broken clock, too."""
    clocks, producer = Clocks(), FakeProducer()
    made = ticker(clocks, producer)
    for _ in range(5):
        made.tick()
        producer.flush(1)
        clocks.pass_ms(100)
    marks = log_of(producer, PLACE)
    assert [type(mark).__name__ for mark in marks] == ["Marker"] + ["Tick"] * 5


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
