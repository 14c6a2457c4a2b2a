"""agents/transport/gathering.py"""

from __future__ import annotations

from faust.types import TP

from tests.agents.transport.test_fetched import LibrdkafkaMessage, Record
from tidegate.agents.transport.gathering import HOLD_RECORDS, HOLD_SECONDS, Gathering
from tidegate.schemas.marks import tick_headers

HERE, THERE = TP("x.a", 0), TP("x.b", 0)


def values(first: int, count: int) -> list[LibrdkafkaMessage]:
    """Messages with values."""
    return [LibrdkafkaMessage(Record(first + index, b"v")) for index in range(count)]


def tick(offset: int) -> LibrdkafkaMessage:
    """A message that carries a tick."""
    return LibrdkafkaMessage(Record(offset, None, tick_headers(1)))


def offsets(messages: list[LibrdkafkaMessage]) -> list[int]:
    """Offsets of messages."""
    return [message.offset() for message in messages]


def test_records_wait_for_their_tick() -> None:
    """Before the tick no fold could conclude anything from them."""
    gathering = Gathering()
    first = {HERE: values(0, 3), THERE: values(0, 1)}
    assert gathering.exchange(first, 10.0, everything=False) == {}
    second = {HERE: [*values(3, 1), tick(4)]}
    taken = gathering.exchange(second, 10.001, everything=False)
    assert {tp: offsets(messages) for tp, messages in taken.items()} == {HERE: [0, 1, 2, 3, 4]}
    assert (gathering.count(HERE), gathering.count(THERE)) == (0, 1)


def test_records_do_not_wait_longer_than_a_part_of_an_interval() -> None:
    """Otherwise all work of an interval would begin when it is over."""
    gathering = Gathering()
    gathering.exchange({HERE: values(0, 2)}, 10.0, everything=False)
    later = gathering.exchange({HERE: values(2, 1)}, 10.0 + HOLD_SECONDS * 0.9, everything=False)
    assert later == {}
    taken = gathering.exchange({}, 10.0 + HOLD_SECONDS, everything=False)
    assert offsets(taken[HERE]) == [0, 1, 2]
    assert gathering.exchange({HERE: values(3, 1)}, 11.0, everything=False) == {}


def test_enough_records_do_not_wait() -> None:
    """A batch larger than this only costs memory."""
    gathering = Gathering()
    assert gathering.exchange({HERE: values(0, HOLD_RECORDS - 1)}, 10.0, everything=False) == {}
    taken = gathering.exchange({HERE: values(HOLD_RECORDS - 1, 1)}, 10.0, everything=False)
    assert offsets(taken[HERE]) == list(range(HOLD_RECORDS))


def test_a_backlog_does_not_wait() -> None:
    """While there is more to fetch, everything is handed on."""
    gathering = Gathering()
    gathering.exchange({HERE: values(0, 1)}, 10.0, everything=False)
    taken = gathering.exchange({THERE: values(0, 1)}, 10.0, everything=True)
    assert set(taken) == {HERE, THERE}
    assert gathering.exchange({}, 20.0, everything=True) == {}


def test_what_is_held_is_forgotten_at_a_seek() -> None:
    """It is read again, and must not come twice."""
    gathering = Gathering()
    gathering.exchange({HERE: values(0, 1)}, 10.0, everything=False)
    gathering.clear()
    assert gathering.count(HERE) == 0
    assert gathering.exchange({}, 20.0, everything=True) == {}
