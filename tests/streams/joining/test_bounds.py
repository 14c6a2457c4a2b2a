"""Memory is bounded by log time and by counts, and what is forgotten is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.streams.joining.scenario import Scenario
from tests.streams.joining.traffic import BEGIN_MS, SETTINGS, prediction
from tidegate.schemas.facts import NONE
from tidegate.streams.joining.contexts import Interner, text_bytes
from tidegate.streams.joining.layout import WAITING_OUTCOME
from tidegate.streams.joining.settings import OUTCOMES_MAX, JoinerSettings
from tidegate.streams.joining.waiting import Waiting


def test_a_closed_request_is_forgotten_by_log_time() -> None:
    """What is remembered of a closed request goes `closed_memory_ms` behind its deadline; then its
    id is new."""
    scenario = Scenario().predict()
    scenario.at(600)
    assert scenario.count("closed") == 1
    scenario.at(60_500)
    assert scenario.count("closed") == 1
    scenario.at(60_600)
    assert scenario.count("closed") == 0
    scenario.predict()
    assert scenario.count("prediction.pending") == 1
    assert scenario.count("prediction.counted") == 1


def test_contexts_and_names_are_forgotten_when_nothing_refers_to_them() -> None:
    """Numbers are taken back by log time and given out again; a context in use stays."""
    scenario = Scenario()
    scenario.predict("old", variant="old", attributes={"region": "old"}, features={"old": 1.0})
    scenario.outcome("old", metric="old").shadow("old", variant="old-shadow")
    scenario.at(30_000).predict("long", variant="long", reward_wait_ms=200_000)
    interned = scenario.joiner.state.interned
    scenario.at(100_000).reload()
    interned = scenario.joiner.state.interned
    assert interned.tails.items[0] is None
    assert interned.tails.get(1).context.variant == "long"
    assert interned.attributes.items[:2] == [(), None]
    assert interned.layouts.items[0] == ()
    scenario.predict("new", variant="new")
    assert interned.tails.get(0).context.variant == "new"
    scenario.at(400_000).at(420_000)
    assert [it for it in interned.names.items if it is not None] == []
    assert [it for it in interned.shadow_tails.items if it is not None] == []
    with pytest.raises(KeyError):
        interned.tails.get(1)


def test_too_many_open_requests_expire_earliest_deadline_first() -> None:
    """Beyond the cap the request with the earliest deadline is given up, as `expired`; its
    outcomes then find nothing."""
    scenario = Scenario(replace(SETTINGS, open_max=2))
    scenario.predict("soon", reward_wait_ms=200).predict("later").predict("latest")
    assert scenario.count("prediction.expired") == 1
    assert scenario.count("prediction.pending") == 2
    scenario.outcome("soon").outcome("later").at(100)
    assert scenario.irregular() == ["prediction expired"]
    assert len(scenario.rows("matched")) == 1
    scenario.reload().at(900)
    assert len(scenario.rows("closed")) == 2
    assert scenario.count("prediction.input") == 3


def test_giving_one_up_within_a_run_loses_nobody_else() -> None:
    """The deadline of the one that was given up comes again in the same run: that request has a
    timer like any other, so it closes or expires, and the cap can be met for ever."""
    scenario = Scenario(replace(SETTINGS, open_max=1)).predict("long", reward_wait_ms=20_000)
    short = [prediction(f"r{n}", BEGIN_MS, reward_wait_ms=200) for n in range(3)]
    scenario.send(0, *short)
    assert scenario.count("prediction.expired") == 3
    assert scenario.count("prediction.pending") == 1
    scenario.reload().at(40_000)
    assert scenario.count("prediction.pending") == 0
    assert scenario.count("prediction.counted") == 1


def test_too_many_open_requests_expire_whatever_the_runs() -> None:
    """A deadline whose requests have all expired is gone, and begun anew by the next of the same
    run: which requests are left does not depend on how runs were split."""
    settings = replace(SETTINGS, open_max=2)
    soon = [prediction(f"soon-{number}", BEGIN_MS, reward_wait_ms=200) for number in range(3)]
    left = []
    for runs in ([soon], [[it] for it in soon]):
        scenario = Scenario(settings).predict("later").predict("latest")
        for run in runs:
            scenario.send(0, *run)
        assert scenario.count("prediction.expired") == 3
        scenario.reload().outcome("later").outcome("latest").at(700)
        assert scenario.count("prediction.counted") == 2
        assert scenario.count("outcome.counted") == 2
        left.append(scenario.rows("closed"))
    assert left[0] == left[1]


def test_too_many_closed_requests_are_forgotten_oldest_first() -> None:
    """Beyond the cap the oldest closed requests go; the rest stay as long as they should."""
    scenario = Scenario(replace(SETTINGS, closed_max=3))
    for number in range(5):
        scenario.predict(f"r{number}", reward_wait_ms=100 * (number + 1))
    scenario.at(650)
    assert scenario.count("closed") == 3
    scenario.outcome("r0").outcome("r4", at_ms=0)
    assert scenario.count("outcome.late") == 1
    assert scenario.count("outcome.pending") == 1
    scenario.reload()
    assert scenario.count("closed") == 3


def test_too_many_waiting_records_expire_first_come_first() -> None:
    """Beyond the cap the outcome or shadow that has waited longest is given up, as `expired`."""
    scenario = Scenario(replace(SETTINGS, waiting_max=2))
    scenario.shadow("a").outcome("b").outcome("c").outcome("d")
    assert scenario.count("shadow.expired") == 1
    assert scenario.count("outcome.expired") == 1
    assert scenario.count("outcome.pending") == 2
    scenario.reload().predict("d").at(300)
    assert scenario.irregular() == ["shadow expired", "outcome expired", "outcome orphan"]


def test_a_request_keeps_a_bounded_number_of_outcomes() -> None:
    """Beyond OUTCOMES_MAX outcomes of one request are `expired`, and shadows too."""
    scenario = Scenario(replace(SETTINGS, facts_per_batch=5_000)).predict()
    for number in range(OUTCOMES_MAX + 1):
        scenario.outcome(outcome_id=f"o{number}")
    scenario.shadow().outcome(outcome_id="o0")
    assert scenario.count("outcome.counted") == OUTCOMES_MAX
    assert scenario.count("outcome.expired") == 1
    assert scenario.count("shadow.expired") == 1
    assert scenario.count("outcome.duplicate") == 1
    scenario.at(700)
    assert [row["count"] for row in scenario.rows("closed_metric")] == [OUTCOMES_MAX]


def test_what_cannot_be_interned_expires() -> None:
    """When a table of contexts, attributes, features, metrics or shadows is full, what would need
    a new number is `expired`; what has one goes on."""
    scenario = Scenario(replace(SETTINGS, interned_max=2))
    scenario.predict("r0").predict("r1", variant="b").predict("r2", variant="c")
    scenario.predict("r3", attributes={"a": "1"}).predict("r4", attributes={"a": "2"})
    scenario.predict("r5", features={"x": 1.0}).predict("r6", features={"y": 1.0})
    scenario.predict("r7", measures={"m": 1.0})
    assert scenario.count("prediction.expired") == 3
    for number in range(3):
        scenario.outcome("r0", metric=f"metric-{number}", outcome_id=f"{number}")
        scenario.shadow("r0", variant=f"shadow-{number}")
    scenario.outcome("r0", outcome_id="known", metric="metric-0", source="nowhere-to-put")
    assert scenario.count("outcome.expired") == 1
    assert scenario.count("shadow.expired") == 1
    scenario.shadow("early", variant="shadow-9").at(50).predict("early").at(700)
    assert scenario.count("shadow.expired") == 2
    assert scenario.rows("matched")[-1]["source"] is None
    assert scenario.rows("measure") == []
    scenario.outcome("r0", metric="metric-9").at(800)
    assert scenario.irregular()[-1] == "outcome late"


def test_numbers_are_given_out_smallest_first() -> None:
    """The smallest free number is next, whichever was freed first."""
    interner: Interner[str] = Interner(4)
    assert [interner.number(name) for name in "abc"] == [0, 1, 2]
    interner.touch(1, 50)
    interner.forget(50)
    assert interner.items == [None, "b", None]
    assert interner.numbers(["b", "d", "e", "f", "g"]) == [1, 0, 2, 3, NONE]
    again: Interner[str] = Interner(4)
    again.load(interner.dump(str), str)
    assert again.items == interner.items
    assert again.number("g") == NONE


def test_equal_objects_have_one_number() -> None:
    """Only equality counts: an equal value in another object has the same number, also when the
    cache by identity has been emptied."""
    interner: Interner[tuple[str, str]] = Interner(100_000)
    items = [("a", str(number)) for number in range(20_000)]
    numbers = interner.numbers(items)
    assert numbers == list(range(20_000))
    assert interner.numbers([("a", str(number)) for number in range(20_000)]) == numbers


def test_texts_are_counted_in_bytes() -> None:
    """What a value takes in a record is about the bytes of its texts."""
    assert text_bytes("größe") == 7
    assert text_bytes((("a", "b"), ("c", 4))) == 11


def test_waiting_items_keep_their_order_through_a_dump() -> None:
    """Who came first is given up first, before and after a dump, also when one was taken."""
    waiting = Waiting()
    for number, key in enumerate((b"a", b"b", b"a", b"c")):
        item = WAITING_OUTCOME.pack(2, 10 + number, 0, 0, number, 0.0, 0)
        waiting.add(key * 16, item)
    assert len(waiting.take(b"b" * 16)) == 1
    again = Waiting()
    again.load(waiting.dump())
    assert again.dump() == waiting.dump()
    for each in (waiting, again):
        assert [key for key, _ in each.expire(12)] == [b"a" * 16, b"a" * 16]
        assert len(each) == 1
        assert each.count(2) == 1
        assert each.give_up()[0] == b"c" * 16
        assert list(each.expire(1_000)) == []


def test_the_defaults_are_those_of_the_design() -> None:
    """Early tolerance 2 min, grace 30 s, memory 10 min, future 5 min."""
    settings = JoinerSettings()
    assert settings.early_wait_ms == 150_000
    assert (settings.closed_memory_ms, settings.future_tolerance_ms) == (600_000, 300_000)
