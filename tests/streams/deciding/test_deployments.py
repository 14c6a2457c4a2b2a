"""Releases that command instances, first command to last: what is written, and when."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.streams.deciding.site import NEW, OLD, Site, said
from tests.streams.deciding.world import ERRORS, Group, World, spec_of
from tidegate.schemas import codec
from tidegate.schemas.events import Command
from tidegate.schemas.manifest.deployments import Rolling
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding import deployment
from tidegate.streams.deciding.deployment import REPEAT_MS
from tidegate.streams.strategies import STRATEGIES, blue_green, recreate, rolling
from tidegate.streams.strategies.base import Kind, Standing

SMOKE = {"smoke": [{"request": {"x": 1}, "expect": 1}], "keep_previous": "20s", "timeout": "30s"}
STEPS: Mapping[str, Mapping[str, Any]] = {
    "blue_green": {**SMOKE, "instances": 3},
    "rolling": {"batch": 1, "health_timeout": "20s", "instances": 3},
    "recreate": {"timeout": "20s", "instances": 3},
}
ENDS = {"blue_green": 60, "rolling": 20, "recreate": 20}
NAMES = ("i1", "i2", "i3")
BOUNDED = {"metric": "errors", "max": "2%", "min_samples": 200, "on_breach": "rollback"}


def begin(name: str, *guardrails: Mapping[str, Any], **settings: Any) -> tuple[World, Site]:
    """A release by one strategy, and three instances with the old version."""
    world = World()
    world.apply({name: {**STEPS[name], **settings}}, guardrails=list(guardrails))
    return world, Site(world, *NAMES)


def commands(world: World) -> list[Command]:
    """Every command to instances, copies included."""
    found = [codec.decode_as(Command, value) for value in world.values("commands")]
    return [item for item in found if item.kind not in ("HEARTBEAT", "STATUS", "ALERT")]


@pytest.mark.parametrize("name", STEPS)
def test_the_good_end(name: str) -> None:
    """All instances serve the new version, everything goes there, the release has ended."""
    world, site = begin(name)
    site.run(ENDS[name])
    assert set(map(tuple, site.versions().values())) == {("v2",)}
    assert (world.last().phase, world.last().action) == ("COMPLETED", "FINISH")
    assert world.last().weights == {"champion": 0, "challenger": 10_000}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("way", ["ROLLBACK", "ABORT"])
@pytest.mark.parametrize("seconds", [2, 3, 4, 12])
def test_a_person_takes_it_back_at_any_time(name: str, way: str, seconds: int) -> None:
    """Whatever had been done to the instances is undone, and the old version serves alone."""
    world, site = begin(name)
    site.run(seconds)
    if world.last().phase == "COMPLETED" and way == "ABORT":
        return
    world.order(way)
    site.run(40)
    assert set(map(tuple, site.versions().values())) == {("v1",)}
    assert world.last().weights == {"champion": 10_000, "challenger": 0}
    assert world.last().phase in ("ROLLED_BACK", "ABORTED")


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("fault", ["broken", "sick", "deaf"])
def test_one_bad_instance_is_enough(name: str, fault: str) -> None:
    """The release does not reach its end; where users met it, it is rolled back and undone."""
    world, site = begin(name)
    setattr(site["i2"], fault, True)
    site.run(60)
    stopped = name == "blue_green"
    assert world.last().phase == ("PAUSED" if stopped else "ROLLED_BACK")
    assert world.last().weights["challenger"] == 0
    # Who is deaf was told nothing, so it still has the old version.
    site["i2"].broken = site["i2"].sick = site["i2"].deaf = False
    if stopped:
        world.order("ABORT")
    site.run(60)
    assert set(map(tuple, site.versions().values())) == {("v1",)}


def test_a_wrong_answer_is_never_switched_to() -> None:
    """FAIL with the first difference, and no table names green."""
    world, site = begin("blue_green")
    site["i3"].wrong = True
    site.run(60)
    assert (world.last().action, world.last().verdict) == ("PAUSE", "FAIL")
    assert "i3: case 0: cat, expected dog" in world.last().reason
    assert all(item.variant == "champion" for table in world.tables() for item in table.buckets)
    site["i3"].wrong = False
    world.order("RESUME")
    site.run(5)
    assert world.last().weights["challenger"] == 10_000


def test_green_that_falls_ill_is_left_at_once() -> None:
    """One word is enough: the table goes back, clients read ROLLBACK on control."""
    world, site = begin("blue_green")
    site.run(6)
    assert world.last().weights["challenger"] == 10_000
    site["i1"].servers[NEW] = "DEGRADED"
    site.say("i1")
    assert (world.last().action, world.last().weights["champion"]) == ("ROLLBACK", 10_000)
    assert [order.arguments for order in world.own_orders()] == [{"variant": "challenger"}]
    assert [OLD in place.servers for place in site.places.values()] == [True] * 3


def test_blue_is_kept_while_a_guardrail_has_no_data() -> None:
    """No data is no success: retiring waits for it, with blue warm."""
    world, site = begin("blue_green", BOUNDED)
    site.run(60)
    assert (world.last().action, world.last().verdict) == ("HOLD", "NO_DATA")
    assert set(map(tuple, site.versions().values())) == {("v1", "v2")}
    world.observe(Group("challenger", 20_000, 20))
    site.run(5)
    assert world.last().phase == "COMPLETED"


def test_patched_instances_are_compared_with_the_others() -> None:
    """Requests under INSTANCE count for guardrails on status: the next batch waits for their
    data, and a patched instance that fails its users takes everybody back."""
    world, site = begin("rolling", ERRORS)
    site.run(10)
    assert (world.last().action, world.last().verdict) == ("HOLD", "NO_DATA")
    table = world.tables()[-1].version
    patched = Group("challenger", 400, 80, reason="INSTANCE", version=table, propensity=1.0)
    world.observe(Group("champion", 800, 8, version=table, propensity=1.0), patched)
    assert world.last().action == "ROLLBACK"
    assert "errors 20.0 % against 1.0 % in control" in world.last().reason
    site.run(20)
    assert set(map(tuple, site.versions().values())) == {("v1",)}


def test_good_instances_let_the_next_batch_go_on() -> None:
    """The same with nothing wrong reaches the end."""
    world, site = begin("rolling", {**ERRORS, "worse_by": "5pp"})
    for _ in range(4):
        site.run(6)
        table = world.tables()[-1].version
        patched = Group("challenger", 4_000, 40, reason="INSTANCE", version=table, propensity=1.0)
        world.observe(Group("champion", 4_000, 40, version=table, propensity=1.0), patched)
    site.run(6)
    assert world.last().phase == "COMPLETED"


def test_a_step_that_commands_instances_has_a_table_of_its_own() -> None:
    """Although no share moves on its entry: guardrails want evidence of tables of this step, and
    users of patched instances give it from there on."""
    world = World()
    world.apply({"pause": {"duration": "1h"}}, {"rolling": STEPS["rolling"]}, guardrails=[BOUNDED])
    site = Site(world, *NAMES)
    before = len(world.tables())
    world.order("PROMOTE", arguments={"to": "next"})
    assert len(world.tables()) == before + 1
    assert world.tables()[-1].version == world.state.first_table[1]
    for _ in range(4):
        site.run(6)
        table = world.tables()[-1].version
        patched = Group("challenger", 4_000, 4, reason="INSTANCE", version=table, propensity=1.0)
        world.observe(patched)
    site.run(6)
    assert world.last().phase == "COMPLETED"


def test_each_batch_is_a_decision_and_its_commands_are_named_by_it() -> None:
    """Command ids are decision id and place; each expires; evidence shows the instances."""
    world, site = begin("rolling", batch=2, max_unavailable=2)
    site.run(20)
    deployed = [item for item in world.decisions() if item.action == "DEPLOY"]
    assert [item.reason for item in deployed] == [
        "batch 1: ranker v2 on i1 and i2",
        "2 of 3 instances are patched and well; batch 2: ranker v2 on i3",
    ]
    first, second, *_ = commands(world)
    assert [first.command_id, second.command_id] == [
        f"{deployed[0].decision_id}/0",
        f"{deployed[0].decision_id}/1",
    ]
    assert first.expires_at == deployed[0].decided_at + 20_000
    assert first.arguments == {
        "instance": "i1", "variant": "challenger", "model": "ranker", "version": "v2",
        "replaces_model": "ranker", "replaces_version": "v1",
    }  # fmt: skip
    evidence = json.loads(deployed[1].evidence)["instances"]
    assert [item["instance"] for item in evidence] == list(NAMES)
    assert evidence[0]["servers"] == [{"model": "ranker", "version": "v2", "health": "OK"}]


def test_commands_in_force_are_said_again_until_they_expire() -> None:
    """Byte for byte, every 5 s of log time: who was away hears it, who has obeyed drops it."""
    world, site = begin("rolling")
    site["i1"].deaf = True
    site.run(3)
    [command] = commands(world)
    world.tick(REPEAT_MS)
    assert commands(world) == [command, command]
    site["i1"].deaf = False
    world.tick(REPEAT_MS)
    site.run(10)
    assert world.last().phase == "COMPLETED"
    assert [place.obeyed for place in site.places.values()] == [["DEPLOY"]] * 3
    told = len(commands(world))
    world.tick(60_000)
    assert len(commands(world)) == told


def test_a_paused_release_commands_nobody_and_resumes_from_what_runs() -> None:
    """What is patched stays so and is not patched again."""
    world, site = begin("rolling")
    site.run(3)
    world.order("PAUSE")
    told = len(commands(world))
    site.run(30)
    assert len(commands(world)) == told
    world.order("RESUME")
    site.run(15)
    assert world.last().phase == "COMPLETED"
    assert [place.obeyed for place in site.places.values()] == [["DEPLOY"]] * 3


def test_a_joiner_that_is_down_means_waiting_and_a_failure_does_not_wait_for_it() -> None:
    """The next batch needs evidence up to the last one; time-outs go by log time alone."""
    world, site = begin("rolling")
    site.run(1)
    for _ in range(60):
        world.tick(1_000)
        site.rise()
        site.obey()
        for name in NAMES:
            site.say(name, "HEARTBEAT")
    assert world.actions().count("DEPLOY") == 1
    site["i1"].servers[NEW] = "DEGRADED"
    site.say("i1")
    assert world.actions()[-2:] == ["ROLLBACK", "DEPLOY"]


def test_promotion_does_not_leave_instances_behind() -> None:
    """A person cannot give everything to a version that instances do not have."""
    world, _ = begin("rolling")
    world.order("PROMOTE")
    assert world.last().action == "REFUSED"
    assert "rolling must bring challenger to the instances first" in world.last().reason


def test_step_back_has_nothing_below_instances() -> None:
    """A guardrail that would step back rolls back: the way back is the strategy's own."""
    world = World()
    canary = {"canary": {"weight": "10%", "hold": "1s"}}
    steps = {**ERRORS, "on_breach": "step_back"}
    world.apply(canary, {"rolling": {**STEPS["rolling"]}}, guardrails=[steps])
    site = Site(world, *NAMES)
    world.order("PROMOTE", arguments={"to": "next"})
    site.run(4)
    table = world.tables()[-1].version
    patched = Group("challenger", 400, 80, reason="INSTANCE", version=table, propensity=1.0)
    world.observe(Group("champion", 800, 8, version=table, propensity=1.0), patched)
    assert world.last().action == "ROLLBACK"


@pytest.mark.parametrize("name", STEPS)
def test_a_new_time_out_moves_no_user(name: str) -> None:
    """Amending the running step keeps who serves."""
    world, site = begin(name, BOUNDED)
    site.run(8)
    served = world.last().weights
    changed = {name: {**STEPS[name], "instances": 2}}
    world.order("APPLY", changed_spec(changed), parent=world.state.spec.digest())
    assert world.last().weights == served
    assert world.last().generation == 1


def changed_spec(step: Mapping[str, Any]) -> ExperimentSpec:
    """The manifest with another step."""
    return spec_of(step, guardrails=[BOUNDED])


@pytest.mark.parametrize("name", STEPS)
def test_a_decider_that_starts_anew_in_the_middle_goes_on_the_same(name: str) -> None:
    """State at any moment, dumped and loaded, gives the same records from there."""
    for seconds in (2, 4, 7):
        outputs = []
        for restarted in (False, True):
            world, site = begin(name)
            site.run(seconds)
            if restarted:
                state = world.decider.dump()
                world.decider = world.fresh()
                world.decider.load(state)
                assert world.decider.dump() == state
            site["i2"].servers = dict.fromkeys(site["i2"].servers, "DEGRADED")
            site.run(40)
            outputs.append([(item.topic, item.key, item.value) for item in world.outputs])
        assert outputs[0] == outputs[1]


def test_the_view_counts_instances() -> None:
    """Which instances serve what, who is unwell and who is silent."""
    world, site = begin("rolling")
    site.run(3)
    site.rise()
    site.say("i1")
    site.say("i2")
    site["i3"].servers[OLD] = "DEGRADED"
    site.say("i3")
    world.tick(1_000)
    found = world.view()["instances"]
    assert (found["known"], found["live"], found["unwell"]) == (3, 3, ["i3"])
    assert found["serving"]["challenger"] >= 1
    assert world.view()["progress"].startswith("patched ")
    world.tick(20_000)
    assert world.view()["instances"]["silent"] == list(NAMES)


# -- what must hold in every run, and the bugs that it catches


def misplays(name: str, seed: int) -> list[str]:
    """One release under random faults; which promises it broke."""
    chance = random.Random(seed)
    world, site = begin(name)
    found: list[str] = []
    for _ in range(40):
        for place in site.places.values():
            place.deaf = chance.random() < 0.1
            place.broken = chance.random() < 0.03
            place.wrong = chance.random() < 0.1
        silent = [each for each in NAMES if chance.random() < 0.05]
        site.run(1, *silent)
        if chance.random() < 0.01:
            world.order("ROLLBACK")
        found += broken_promises(name, world, site)
    return found


def broken_promises(name: str, world: World, site: Site) -> list[str]:
    """What is wrong at this moment."""
    found = []
    serving = world.state.weights
    new = [NEW in place.servers for place in site.places.values()]
    well = sum("OK" in place.servers.values() for place in site.places.values())
    if serving["challenger"] and not all(new):
        found.append("users are sent to a version that an instance does not run")
    if name == "rolling" and well < len(NAMES) - 1 and world.state.phase == "RUNNING":
        found.append("more instances without a healthy version than allowed")
    if name == "recreate" and any(len(place.servers) > 1 for place in site.places.values()):
        found.append("two versions beside each other")
    if serving["challenger"] and name == "blue_green":
        passed = [place for place in site.places.values() if "SMOKE" in place.obeyed]
        if len(passed) < len(NAMES):
            found.append("users before the smoke test")
    if "challenger" in world.state.rolled_back and serving["challenger"]:
        found.append("a rolled-back variant serves")
    return found


@pytest.mark.parametrize("name", STEPS)
def test_promises_hold_under_random_faults(name: str) -> None:
    """Nobody is sent to what does not run, no more is taken down than allowed, nothing untested."""
    for seed in range(6):
        assert misplays(name, seed) == []


def _greedy(standing: Standing) -> Any:
    """Planted: nobody looks at how many may be unavailable."""
    greedy = Rolling.model_validate({"batch": 3, "max_unavailable": 3})
    return rolling.decide(replace(standing, settings=greedy))


def _untested(standing: Standing) -> Any:
    """Planted: the switch does not wait for answers."""
    move = blue_green.decide(standing)
    if move is not None and move.commands and move.commands[0].kind == "SMOKE":
        return replace(move, kind=Kind.INCREMENT, commands=(), memo=None, needs_data=False)
    return move


def _hasty(standing: Standing) -> Any:
    """Planted: the new version is started before the old one has stopped."""
    move = recreate.decide(standing)
    if move is not None and move.commands and move.commands[0].kind == "STOP":
        stop = move.commands[0]
        start = replace(
            stop, kind="START", arguments={**stop.arguments, "version": "v2"}
        )
        return replace(move, commands=(start,))
    return move


@pytest.mark.parametrize(
    ("name", "decide"),
    [("rolling", _greedy), ("blue_green", _untested), ("recreate", _hasty)],
)
def test_planted_bugs_break_a_promise(
    name: str, decide: Callable[[Standing], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promises above can be broken, and then it shows."""
    planted = {**STRATEGIES, name: replace(STRATEGIES[name], decide=decide)}
    monkeypatch.setattr("tidegate.streams.deciding.experiment.STRATEGIES", planted)
    assert any(misplays(name, seed) for seed in range(6))


def test_commands_that_are_not_repeated_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: without copies an instance that was away for a moment fails the release."""
    monkeypatch.setattr(deployment, "REPEAT_MS", 10**9)
    world, site = begin("rolling")
    site["i1"].deaf = True
    site.run(3)
    site["i1"].deaf = False
    site.run(40)
    assert world.last().phase == "ROLLED_BACK"
    assert any("not well on i1 after 20 s" in each for each in said(world))
