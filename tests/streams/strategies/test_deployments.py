"""Strategies that command instances: every stage meets every word an instance may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from tests.streams.strategies.test_strategies import SETTINGS, standing
from tidegate.schemas.manifest.deployments import BlueGreen, Recreate, Rolling
from tidegate.streams.strategies import STRATEGIES, blue_green, recreate, rolling
from tidegate.streams.strategies.base import ALL_BP, Kind, Move, Standing, Verdict
from tidegate.streams.strategies.deploying import share_of, why
from tidegate.streams.strategies.instances import Instance, live, named, runs

OLD, NEW = ("ranker", "v1"), ("ranker", "v2")
NOW_MS = 1_000_000
NAMES = ("blue_green", "rolling", "recreate")
COMMAND = "ranker/0/3/0"
STAGES: Mapping[str, list[dict[str, Any]]] = {
    "blue_green": [{}, *({"stage": each, "since_ms": NOW_MS} for each in ("deploy", "smoke"))],
    "rolling": [
        {},
        {"number": 1, "batch": ["i1"], "since_ms": NOW_MS},
        {"number": 1, "batch": ["i1"], "since_ms": NOW_MS, "well_ms": NOW_MS - 1},
    ],
    "recreate": [
        {},
        {"stage": "STOP", "since_ms": NOW_MS},
        {"stage": "START", "since_ms": NOW_MS, "stopped_ms": NOW_MS},
        {"stage": "START", "since_ms": NOW_MS, "stopped_ms": NOW_MS, "first_ms": NOW_MS},
    ],
}
RUNNING: tuple[Mapping[Any, str], ...] = (
    {},
    {OLD: "OK"},
    {OLD: "OK", NEW: "STARTING"},
    {OLD: "OK", NEW: "OK"},
    {NEW: "OK"},
    {NEW: "DEGRADED"},
)
OUTCOMES = ("", "DONE", "PASSED", "FAILED")


def instance(name: str, servers: Mapping[Any, str], outcome: str = "", **changes: Any) -> Instance:
    """An instance that was just heard, with its answer to the command in force."""
    answered = COMMAND if outcome else ""
    return replace(Instance(name, NOW_MS, True, servers, answered, outcome, ""), **changes)


def at(name: str, memo: Mapping[str, Any], *fleet: Instance, **changes: Any) -> Standing:
    """A step of a strategy with its instances."""
    in_force = {COMMAND} if changes.get("increment", 0) == 0 else set()
    given: dict[str, Any] = {
        "now_ms": NOW_MS,
        "watermark_ms": NOW_MS,
        "issued": frozenset(in_force),
        **changes,
    }
    return standing(name, memo=memo, fleet=fleet, **given)


def every(name: str) -> list[Standing]:
    """Every stage with every pair of words."""
    words = list(product(RUNNING, OUTCOMES))
    return [
        at(name, memo, instance("i1", *one), instance("i2", *other), increment=increment)
        for increment in (0, 1)
        for memo in (STAGES[name] if increment == 0 else [{}])
        for one, other in product(words, words)
    ]


def decided(found: Standing, name: str) -> Move | None:
    """What the strategy says."""
    return STRATEGIES[name].decide(found)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_switched_to_what_is_not_well_everywhere(name: str) -> None:
    """In every stage and for every word, the table goes to the new version only when all live
    instances serve it; blue/green also wants each to have passed."""
    switched = 0
    for found in every(name):
        move = decided(found, name)
        if move is not None and move.kind is Kind.INCREMENT:
            switched += 1
            assert all(item.serves(NEW) for item in found.fleet)
            if name == "blue_green":
                assert [item.outcome for item in found.fleet] == ["PASSED", "PASSED"]
    assert switched > 0


@pytest.mark.parametrize("name", NAMES)
def test_what_fails_or_is_unwell_never_goes_on(name: str) -> None:
    """A failed command or a new version that is unwell leads back, or stops, and nowhere else."""
    for found in every(name):
        move = decided(found, name)
        failing = found.failed()
        sick = any(item.health(NEW) == "DEGRADED" for item in found.fleet)
        if name == "blue_green" and found.increment == 0:
            sick = False  # no user meets it, and it is waited for
        if failing or sick:
            assert move is not None
            assert move.kind in (Kind.ROLL_BACK, Kind.STOP)
            assert move.verdict is Verdict.FAIL
        else:
            assert move is None or move.kind not in (Kind.ROLL_BACK, Kind.STOP)


@pytest.mark.parametrize("name", NAMES)
def test_a_move_never_asks_for_itself_again(name: str) -> None:
    """After a move, and nothing new said, the strategy waits or says something else: the decider
    asks until it hears nothing."""
    for found in every(name):
        move, after = decided(found, name), found
        for _ in range(4):
            if move is None or move.kind not in (Kind.DEPLOY, Kind.CHECKED):
                break
            issued = frozenset({"another"}) if move.commands else after.issued
            after = replace(after, memo=dict(move.memo or {}), issued=issued)
            move = decided(after, name)
        assert move is None or move.kind not in (Kind.DEPLOY, Kind.CHECKED)


@pytest.mark.parametrize("name", NAMES)
def test_too_late_is_not_well(name: str) -> None:
    """When time is over and not all is well, the release stops or goes back, in every stage."""
    for memo in STAGES[name][1:]:
        if "well_ms" in memo:
            continue
        late = NOW_MS + 600_000
        lacking = at(
            name,
            memo,
            instance("i1", {OLD: "OK"}, heard_at_ms=late),
            instance("i2", {OLD: "OK"}, heard_at_ms=late),
            now_ms=late,
        )
        move = decided(lacking, name)
        assert move is not None
        assert (move.kind, move.verdict) == (
            Kind.STOP if name == "blue_green" else Kind.ROLL_BACK,
            Verdict.FAIL,
        )


def test_blue_green_passes_nobody_on_an_answer_to_another_command() -> None:
    """PASSED of a command that is not in force is no answer."""
    passed = [instance(name, {OLD: "OK", NEW: "OK"}, "PASSED") for name in ("i1", "i2")]
    memo = {"stage": "smoke", "since_ms": NOW_MS}
    found = at("blue_green", memo, *passed)
    assert decided(found, "blue_green") is not None
    assert decided(replace(found, issued=frozenset()), "blue_green") is None


def test_blue_green_brings_along_who_joins() -> None:
    """Who has no green while the others are asked is deployed to, and then all are asked."""
    memo = {"stage": "smoke", "since_ms": NOW_MS - 5_000}
    fleet = (instance("i1", {OLD: "OK", NEW: "OK"}, "PASSED"), instance("i2", {OLD: "OK"}))
    move = decided(at("blue_green", memo, *fleet), "blue_green")
    assert move is not None
    assert [item.kind for item in move.commands] == ["DEPLOY"]
    assert move.memo is not None
    assert move.memo["since_ms"] == NOW_MS - 5_000  # time goes on from the first


def test_blue_is_kept_until_its_time_is_over_and_there_is_data() -> None:
    """Retiring needs watermarked time and every guardrail's data; ending needs it to be gone."""
    settings = BlueGreen.model_validate(
        {"smoke": [{"request": {"x": 1}, "expect": 1}], "keep_previous": "1h", "timeout": "60s"}
    )
    both = instance("i1", {OLD: "OK", NEW: "OK"})
    found = at("blue_green", {}, both, increment=1, settings=settings)
    early = replace(found, since_ms=0, watermark_ms=3_599_999)
    assert decided(early, "blue_green") is None
    move = decided(replace(early, watermark_ms=3_600_000), "blue_green")
    assert move is not None
    assert ([item.kind for item in move.commands], move.needs_data) == (["RETIRE"], True)
    assert [item.instance for item in move.commands] == ["i1"]
    assert move.memo is not None
    retiring = replace(early, watermark_ms=3_600_000, memo=move.memo)
    assert decided(retiring, "blue_green") is None
    late = decided(replace(retiring, now_ms=NOW_MS + 60_000), "blue_green")
    assert late is not None
    assert (late.kind, late.verdict) == (Kind.PASS, Verdict.INCONCLUSIVE)
    gone = decided(replace(retiring, fleet=(instance("i1", {NEW: "OK"}),)), "blue_green")
    assert gone is not None
    assert (gone.kind, gone.verdict) == (Kind.PASS, Verdict.PASS)


def test_smoke_requests_travel_as_they_are_written() -> None:
    """One argument a case, canonical JSON."""
    settings = BlueGreen.model_validate(
        {"smoke": [{"request": {"b": [1, "x"], "a": 1.5}, "expect": "cat", "tolerance": 0.1}]}
    )
    memo = {"stage": "deploy", "since_ms": NOW_MS}
    loaded = instance("i1", {OLD: "OK", NEW: "OK"})
    move = decided(at("blue_green", memo, loaded, settings=settings), "blue_green")
    assert move is not None
    [command] = move.commands
    assert (command.kind, command.instance) == ("SMOKE", "")
    assert command.arguments["case.0"] == (
        '{"expect":"cat","request":{"a":1.5,"b":[1,"x"]},"tolerance":0.1}'
    )


@pytest.mark.parametrize(
    ("batch", "unavailable", "instances", "expected"),
    [(1, 1, 5, 1), (2, 2, 5, 2), ("40%", 5, 5, 2), ("40%", 1, 5, 1), ("10%", 5, 5, 1)],
)
def test_a_batch_is_never_larger_than_what_may_be_unavailable(
    batch: Any, unavailable: int, instances: int, expected: int
) -> None:
    """Both limits hold, and at least one instance is taken."""
    settings = Rolling.model_validate({"batch": batch, "max_unavailable": unavailable})
    fleet = [instance(f"i{number}", {OLD: "OK"}) for number in range(instances)]
    move = decided(at("rolling", {}, *fleet, settings=settings), "rolling")
    assert move is not None
    assert len(move.commands) == expected


def test_silent_instances_count_as_unavailable() -> None:
    """With one away already nobody else is taken down; it is said once and waited for."""
    away = instance("i2", {OLD: "OK"}, live=False, heard_at_ms=NOW_MS - 20_000)
    move = decided(at("rolling", {}, instance("i1", {OLD: "OK"}), away), "rolling")
    assert move is not None
    assert (move.kind, move.verdict) == (Kind.HOLD, Verdict.NO_DATA)
    assert "i2 unavailable" in move.reason


def test_the_next_batch_waits_for_evidence_up_to_the_last() -> None:
    """A joiner that is behind may still bring a breach: the watermark decides, and `hold` after."""
    settings = Rolling.model_validate({"hold": "30s"})
    memo = {"number": 1, "batch": ["i1"], "since_ms": NOW_MS - 5_000, "well_ms": NOW_MS}
    fleet = (instance("i1", {NEW: "OK"}), instance("i2", {OLD: "OK"}))
    found = at("rolling", memo, *fleet, settings=settings)
    assert decided(replace(found, watermark_ms=NOW_MS + 29_999), "rolling") is None
    move = decided(replace(found, watermark_ms=NOW_MS + 30_000), "rolling")
    assert move is not None
    assert ([item.instance for item in move.commands], move.needs_data) == (["i2"], True)


def test_a_patched_instance_that_falls_silent_takes_everybody_back() -> None:
    """Not at once, since any host may be slow; after `health_timeout`."""
    settings = Rolling.model_validate({"health_timeout": "60s"})
    for silent_ms, kind in ((59_999, Kind.HOLD), (60_000, Kind.ROLL_BACK)):
        gone = instance("i1", {NEW: "OK"}, live=False, heard_at_ms=NOW_MS - silent_ms)
        fleet = (gone, instance("i2", {OLD: "OK"}))
        move = decided(at("rolling", {}, *fleet, settings=settings), "rolling")
        assert move is not None
        assert move.kind is kind


def test_on_the_way_back_who_fails_is_named_and_not_waited_for() -> None:
    """The others come back; the sentence says who did not."""
    memo = {"ended_ms": 0, "was": {}, "batch": ["i1"], "since_ms": NOW_MS}
    failing = instance("i1", {}, "FAILED")
    other = instance("i2", {NEW: "OK"})
    move = rolling.back(at("rolling", memo, failing, other))
    assert move is not None
    assert [item.instance for item in move.commands] == ["i2"]
    assert move.memo is not None
    done = replace(
        at("rolling", move.memo, failing, instance("i2", {OLD: "OK"})), issued=frozenset()
    )
    last = rolling.back(done)
    assert last is not None
    assert (last.verdict, last.commands) == (Verdict.FAIL, ())
    assert "did not come back on i1" in last.reason


def test_nothing_is_started_beside_an_old_one_that_may_run() -> None:
    """Recreate waits for the silent too: it cannot know that they have stopped."""
    memo = {"stage": "STOP", "since_ms": NOW_MS}
    silent = instance("i2", {OLD: "OK"}, live=False)
    assert decided(at("recreate", memo, instance("i1", {}), silent), "recreate") is None
    move = decided(at("recreate", memo, instance("i1", {}), instance("i2", {})), "recreate")
    assert move is not None
    assert [item.kind for item in move.commands] == ["START"]


def test_downtime_is_from_the_last_that_stopped_to_the_first_that_is_well() -> None:
    """In log time, in evidence and sentence, although the others take longer."""
    memo = {"stage": "START", "since_ms": NOW_MS, "stopped_ms": NOW_MS}
    half = (instance("i1", {NEW: "OK"}), instance("i2", {NEW: "STARTING"}))
    noted = decided(at("recreate", memo, *half, now_ms=NOW_MS + 4_000), "recreate")
    assert noted is not None
    assert noted.kind is Kind.CHECKED
    assert noted.memo is not None
    whole = (instance("i1", {NEW: "OK"}), instance("i2", {NEW: "OK"}))
    move = decided(at("recreate", noted.memo, *whole, now_ms=NOW_MS + 9_000), "recreate")
    assert move is not None
    assert move.evidence["downtime_ms"] == 4_000
    assert "downtime 4 s" in move.reason


def test_downtime_of_a_failed_start_goes_on_until_the_old_one_is_well_again() -> None:
    """What was never well ended no downtime."""
    was = {"stage": "START", "since_ms": NOW_MS, "stopped_ms": NOW_MS}
    memo = {"ended_ms": NOW_MS + 5_000, "was": was}
    again = recreate.back(at("recreate", memo, instance("i1", {}), now_ms=NOW_MS + 6_000))
    assert again is not None
    assert [item.kind for item in again.commands] == ["START"]
    assert again.memo is not None
    well = at("recreate", again.memo, instance("i1", {OLD: "OK"}), now_ms=NOW_MS + 12_000)
    last = recreate.back(well)
    assert last is not None
    assert last.evidence["downtime_ms"] == 12_000


@pytest.mark.parametrize("name", NAMES)
def test_who_was_never_touched_is_left_alone_on_the_way_back(name: str) -> None:
    """A release rolled back before anything was deployed commands nothing."""
    back = STRATEGIES[name].back
    assert back is not None
    for servers in RUNNING[:2]:
        found = at(name, {"ended_ms": 0, "was": {}}, instance("i1", servers))
        assert back(found) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_way_back_ends(name: str) -> None:
    """Asked again after each move it comes to rest, whatever instances say and never hear."""
    back = STRATEGIES[name].back
    assert back is not None
    for one, other in product(RUNNING, RUNNING):
        memo: Mapping[str, Any] = {"ended_ms": 0, "was": {"stage": "smoke", "batch": ["i1"]}}
        found = at(name, memo, instance("i1", one), instance("i2", other))
        for _ in range(8):
            move = back(found)
            if move is None or move.kind is Kind.HOLD:
                break
            assert move.kind is Kind.DEPLOY
            found = replace(found, memo=dict(move.memo or {}), issued=frozenset())
        assert move is None or move.kind is Kind.HOLD


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("increment", [0, 1])
def test_everything_or_nothing(name: str, increment: int) -> None:
    """The table never splits users by unit between versions that instances do not both have."""
    settings: Any = SETTINGS[name]
    shares = STRATEGIES[name].start(settings, "champion", ("challenger",), "", increment)
    assert shares is not None
    assert shares.weights == {"challenger" if increment else "champion": ALL_BP}


def test_settings_default_to_one_at_a_time() -> None:
    """The careful choice needs no word."""
    settings = Rolling()
    assert (settings.batch.size(9), settings.max_unavailable) == (1, 1)
    assert Recreate().timeout_ms == 300_000
    assert blue_green.STRATEGY.settings is BlueGreen


def test_instances_in_a_sentence() -> None:
    """The first few of many, with the words of who failed."""
    many = [instance(f"i{number}", {NEW: "OK"}) for number in range(10)]
    assert named(many).endswith("i6, i7 and 2 more")
    assert share_of(many[:2], many) == "2 of 10 instances"
    assert why([replace(many[0], detail="exit code 1")]) == "i0: exit code 1"
    assert why(many) == "i0"
    assert len(live(many)) == len(runs(many, NEW)) == 10
