"""Rings decided: one after another, and what a breach within one of them does to the others."""

from __future__ import annotations

import json
from typing import Any

from tests.streams.deciding.world import ERRORS, Group, World, spec_of
from tidegate.streams.assignment import assign, prepare
from tidegate.streams.routing import faults, weights_of

RINGS: dict[str, Any] = {
    "rings": [
        {"name": "staff", "when": {"channel": "internal"}},
        {"name": "europe", "when": {"region": "eu"}},
        {"name": "others"},
    ],
    "weight": "20%",
    "hold": "60s",
    "min_samples": 100,
    "on_breach": "ring",
}
PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "staff": (("channel", "internal"),), "europe": (("region", "eu"),), "others": (),
}  # fmt: skip
FULL = {"full": {"keep_previous": "60s"}}


def world_of(**changes: Any) -> World:
    """A release of rings that has just begun."""
    world = World()
    world.apply({"rings": {**RINGS, **changes}}, FULL)
    return world


def serve(
    world: World, *rings: str, errors: dict[str, int] | None = None, number: int = 400
) -> None:
    """Requests of rings that are open; `errors` of the challenger's, by ring."""
    groups = []
    for ring in rings:
        failed = (errors or {}).get(ring, 0)
        at = PLACES[ring]
        groups += [
            Group("champion", number, number // 100, attributes=at),
            Group("challenger", number, failed or number // 100, attributes=at),
        ]
    world.observe(*groups)


def pass_ring(world: World, *rings: str) -> None:
    """Sound requests in the open rings, for as long as one is held."""
    serve(world, *rings)
    world.tick(60_000)
    world.observe()


def reasons(world: World) -> dict[str, str]:
    """What a request of each ring gets by the last table: its reason."""
    table = world.tables()[-1]
    assert not faults(table)
    made = prepare(table)
    return {ring: assign(made, "u", "r", attributes=dict(at)).reason for ring, at in PLACES.items()}


def test_rings_start_one_after_another_and_then_everybody() -> None:
    """Each waits for the one before; in all that have started the shares are the same."""
    world = world_of()
    assert reasons(world) == {"staff": "SPLIT", "europe": "EXCLUDED", "others": "EXCLUDED"}
    pass_ring(world, "staff")
    assert reasons(world) == {"staff": "SPLIT", "europe": "SPLIT", "others": "EXCLUDED"}
    assert world.last().reason.startswith("ring staff held at 20 % for 1:00 min with 400 requests")
    pass_ring(world, "staff", "europe")
    pass_ring(world, "staff", "europe", "others")
    assert world.actions() == ["APPLY", "ADVANCE", "ADVANCE", "PROMOTE"]
    assert {weights_of(table)["challenger"] for table in world.tables()[:3]} == {2_000}
    assert reasons(world) == dict.fromkeys(PLACES, "SPLIT")
    assert "rings" not in json.loads(world.tables()[-1].rules or "")


def test_a_ring_is_not_passed_on_what_others_have() -> None:
    """Plenty of requests in the rings before say nothing about this one."""
    world = world_of()
    pass_ring(world, "staff")
    pass_ring(world, "staff")
    assert world.actions() == ["APPLY", "ADVANCE", "HOLD"]
    assert "challenger has 0 of 100 requests in it: waiting" in world.last().reason


def test_no_data_of_a_guardrail_in_the_ring_is_no_success() -> None:
    """Enough for the step, too little for the guardrail: it waits."""
    world = world_of()
    pass_ring(world, "staff")
    serve(world, "staff")
    serve(world, "europe", number=150)
    world.tick(60_000)
    world.observe()
    assert world.actions() == ["APPLY", "ADVANCE", "HOLD"]
    assert "guardrail errors has 150 of 200 requests of challenger" in world.last().reason


def test_a_ring_is_passed_while_a_guardrail_is_unsure() -> None:
    """As a canary's share: it needs the data and no failure, not the proof of no harm."""
    world = world_of()
    serve(world, "staff", errors={"staff": 8})
    world.tick(60_000)
    world.observe()
    evidence = json.loads(world.last().evidence)
    assert world.last().action == "ADVANCE"
    assert {item["verdict"] for item in evidence["guardrails"]} == {"INCONCLUSIVE"}


def test_a_guardrail_with_checks_holds_no_ring_up() -> None:
    """Checks are of all rings together: a ring needs no data for what cannot close it."""
    answer = {"on_breach": "step_back", "checks": {"every": "30s", "failures": 2}}
    world = World()
    world.apply({"rings": RINGS}, FULL, guardrails=[{**ERRORS, **answer}])
    pass_ring(world, "staff")
    assert world.last().action == "ADVANCE"
    serve(world, "staff")
    serve(world, "europe", number=150)
    world.tick(60_000)
    world.observe()
    assert world.last().action == "ADVANCE"
    assert json.loads(world.last().evidence)["ring_guardrails"] == []


def test_data_of_a_closed_ring_passes_no_other() -> None:
    """What was measured where it is closed now is no data of the rings that go on."""
    world = world_of()
    pass_ring(world, "staff")
    serve(world, "europe")
    serve(world, "staff", errors={"staff": 80})
    assert world.last().action == "CLOSE_RING"
    world.tick(60_000)
    world.observe()
    assert world.last().action == "HOLD"
    assert "guardrail errors has 0 of 200 requests" in world.last().reason
    serve(world, "europe")
    world.tick(1_000)
    world.observe()
    assert world.last().action == "ADVANCE"


def test_a_breach_in_a_ring_closes_only_that_one() -> None:
    """Its requests go back to control for the generation; the release goes on in the others."""
    world = world_of()
    pass_ring(world, "staff")
    serve(world, "staff", "europe", errors={"europe": 60})
    last = world.last()
    assert (last.action, last.variant, last.verdict) == ("CLOSE_RING", "challenger", "FAIL")
    assert last.reason.startswith("ring europe: errors 15.0 % against 1.0 % in control")
    assert json.loads(last.evidence)["ring"] == "europe"
    assert reasons(world) == {"staff": "SPLIT", "europe": "EXCLUDED", "others": "EXCLUDED"}
    assert world.own_orders() == []

    world.tick(1_000)
    world.observe()
    assert world.last().action == "ADVANCE"
    assert "ring europe is closed, the others go on" in world.last().reason
    assert reasons(world) == {"staff": "SPLIT", "europe": "EXCLUDED", "others": "SPLIT"}
    pass_ring(world, "staff", "others")
    assert world.last().action == "PROMOTE"
    assert reasons(world) == {"staff": "SPLIT", "europe": "EXCLUDED", "others": "SPLIT"}
    states = {ring["name"]: ring["state"] for ring in world.view()["rings"]}
    assert states == {"staff": "open", "europe": "closed", "others": "open"}


def test_late_facts_of_a_closed_ring_harm_nobody() -> None:
    """Guardrails over all rings judge anew, on tables without the closed one."""
    world = world_of()
    pass_ring(world, "staff")
    before = world.state.version
    serve(world, "staff", "europe", errors={"europe": 60})
    late = Group("challenger", 5_000, 2_000, attributes=PLACES["europe"], version=before)
    world.observe(late, Group("champion", 5_000, 50, attributes=PLACES["europe"], version=before))
    assert "ROLLBACK" not in world.actions()


def test_the_first_ring_may_be_the_closed_one() -> None:
    """Nobody waits for data that cannot come."""
    world = world_of()
    serve(world, "staff", errors={"staff": 80})
    assert world.actions() == ["APPLY", "CLOSE_RING", "ADVANCE"]
    assert reasons(world) == {"staff": "EXCLUDED", "europe": "SPLIT", "others": "EXCLUDED"}


def test_when_no_ring_is_left_the_candidate_is_rolled_back() -> None:
    """Closing the last one is a rollback, confirmed like any other."""
    world = world_of(rings=RINGS["rings"][:1])
    serve(world, "staff", errors={"staff": 80})
    assert (world.last().action, world.last().phase) == ("ROLLBACK", "ROLLED_BACK")
    assert world.last().reason.endswith("no ring is left")
    assert [order.arguments for order in world.own_orders()] == [{"variant": "challenger"}]


def test_by_default_a_breach_in_one_ring_stops_all() -> None:
    """The guardrail's answer is for the release."""
    world = world_of(on_breach="all")
    pass_ring(world, "staff")
    serve(world, "staff", "europe", errors={"europe": 100})
    assert (world.last().action, world.last().phase) == ("ROLLBACK", "ROLLED_BACK")


def test_a_paused_release_still_closes_rings() -> None:
    """A breach never waits for a person."""
    world = world_of()
    world.order("PAUSE")
    serve(world, "staff", errors={"staff": 80})
    assert (world.last().action, world.last().phase) == ("CLOSE_RING", "PAUSED")


def test_a_step_back_takes_back_the_ring_that_started_last() -> None:
    """And judges from there on new evidence."""
    guardrails = [{**ERRORS, "on_breach": "step_back"}]
    world = World()
    world.apply({"rings": {**RINGS, "on_breach": "all"}}, FULL, guardrails=guardrails)
    pass_ring(world, "staff")
    serve(world, "staff", "europe", errors={"europe": 100})
    assert world.last().action == "STEP_BACK"
    assert reasons(world) == {"staff": "SPLIT", "europe": "EXCLUDED", "others": "EXCLUDED"}


def test_the_error_rate_is_shared_out_over_the_rings() -> None:
    """Three rings may each err with a third: the promise is for the whole run."""
    world = world_of()
    pass_ring(world, "staff")
    serve(world, "staff", "europe", errors={"europe": 60})
    breach = json.loads(world.last().evidence)["breach"]
    assert breach["alpha"] == 0.0166666667


def test_other_rings_open_a_new_generation() -> None:
    """Statistics of one ring would be taken for another's; another hold mixes nothing."""
    world = world_of()
    serve(world, "staff")
    first = spec_of({"rings": RINGS}, FULL)
    longer = spec_of({"rings": {**RINGS, "hold": "90s"}}, FULL)
    world.order("APPLY", longer, parent=first.digest())
    assert world.last().generation == 1
    others = spec_of({"rings": {**RINGS, "rings": RINGS["rings"][1:]}}, FULL)
    world.order("APPLY", others, parent=longer.digest())
    assert world.last().generation == 2
    assert "statistics of other rings would be mixed" in world.last().reason


def test_a_decider_goes_on_with_its_rings_after_a_restart() -> None:
    """Closed rings and ring by ring statistics are in the dump; decisions come out the same."""
    world, twin = world_of(), world_of()
    for each in (world, twin):
        pass_ring(each, "staff")
        serve(each, "staff", "europe", errors={"europe": 60})
    state = twin.decider.dump()
    twin.decider = twin.fresh()
    twin.decider.load(state)
    assert twin.decider.dump() == world.decider.dump()
    for each in (world, twin):
        pass_ring(each, "staff", "others")
    assert twin.values("decisions") == world.values("decisions")
    assert world.state.closed == ["europe"]


def test_rings_to_come_are_waiting() -> None:
    """In a step before them nobody is in a ring yet."""
    world = World()
    world.apply({"canary": {"weight": "5%", "hold": "60s"}}, {"rings": RINGS}, FULL)
    assert {ring["state"] for ring in world.view()["rings"]} == {"waiting"}
    assert reasons(world) == dict.fromkeys(PLACES, "SPLIT")


def test_a_pause_after_rings_keeps_them() -> None:
    """Who was in no ring before it is not let in by it; breaches still close rings."""
    world = World()
    rings = {**RINGS, "rings": RINGS["rings"][:2]}
    world.apply({"rings": rings}, {"pause": {}}, FULL)
    pass_ring(world, "staff")
    pass_ring(world, "staff", "europe")
    assert world.last().step == 1
    assert reasons(world) == {"staff": "SPLIT", "europe": "SPLIT", "others": "EXCLUDED"}
    serve(world, "staff", "europe", errors={"europe": 60})
    assert "CLOSE_RING" in world.actions()
    assert reasons(world) == {"staff": "SPLIT", "europe": "EXCLUDED", "others": "EXCLUDED"}


def test_a_person_may_promote_in_the_middle_of_the_rings() -> None:
    """Everybody gets the candidate, but not those whose ring it failed in."""
    world = world_of()
    pass_ring(world, "staff")
    serve(world, "staff", "europe", errors={"europe": 60})
    world.order("PROMOTE")
    assert reasons(world) == {"staff": "SPLIT", "europe": "EXCLUDED", "others": "SPLIT"}
    assert weights_of(world.tables()[-1])["challenger"] == 10_000


def test_one_open_ring_is_closed_at_its_own_share_of_the_error_rate() -> None:
    """Taken as all rings together it would fail sooner, and everything would be rolled back."""
    world = world_of()
    for _ in range(60):
        serve(world, "staff", errors={"staff": 4}, number=100)
        if world.last().action != "APPLY":
            break
    assert (world.last().action, world.state.closed) == ("CLOSE_RING", ["staff"])
    assert "98 % always valid" in world.last().reason


def slow(world: World, ring: str) -> None:
    """Requests in a ring that break a limit on latency, which is checked every ten seconds."""
    groups = [
        Group(name, 400, 4, attributes=PLACES[ring], latency_ms=ms)
        for name, ms in (("champion", 20.0), ("challenger", 900.0))
    ]
    world.observe(*groups)
    world.tick(11_000)
    world.observe()


CHECKED = {
    "metric": "latency", "max": "50ms", "min_samples": 100, "on_breach": "step_back",
    "checks": {"every": "10s", "failures": 1},
}  # fmt: skip


def test_a_step_back_leaves_out_closed_rings() -> None:
    """From the third ring to the first, as the second is closed: nobody would be in it."""
    world = World()
    world.apply({"rings": RINGS}, FULL, guardrails=[ERRORS, CHECKED])
    pass_ring(world, "staff")
    serve(world, "staff", "europe", errors={"europe": 200})
    world.tick(1_000)
    world.observe()
    assert (world.state.closed, world.state.increment) == (["europe"], 2)
    slow(world, "others")
    assert (world.last().action, world.state.increment) == ("STEP_BACK", 0)
    assert reasons(world) == {"staff": "SPLIT", "europe": "EXCLUDED", "others": "EXCLUDED"}


def test_a_step_back_with_only_closed_rings_below_is_a_rollback() -> None:
    """A closed ring is passed at once, so stepping back into it would be undone within a second."""
    world = World()
    world.apply({"rings": RINGS}, FULL, guardrails=[ERRORS, CHECKED])
    serve(world, "staff", errors={"staff": 200})
    world.tick(1_000)
    world.observe()
    assert (world.state.closed, world.state.increment) == (["staff"], 1)
    slow(world, "europe")
    assert (world.last().action, world.last().phase) == ("ROLLBACK", "ROLLED_BACK")


def test_no_version_is_brought_to_instances_while_a_ring_is_closed() -> None:
    """A manifest that is amended afterwards may still lead there: then a person decides."""
    smoke = [{"request": {"x": 1}, "expect": 1}]
    steps = {"rings": {**RINGS, "on_breach": "all"}}, {"blue_green": {"smoke": smoke}}
    world = world_of()
    serve(world, "staff", errors={"staff": 200})
    assert world.state.closed == ["staff"]
    world.order("APPLY", spec_of(*steps), parent=world.state.spec.digest())
    assert world.state.generation == 1
    for _ in range(4):
        pass_ring(world, "europe", "others")
    assert (world.last().action, world.last().phase) == ("PAUSE", "PAUSED")
    assert "blue_green would give staff the new version too" in world.last().reason
    world.order("PROMOTE", arguments={"to": "next"})
    assert world.last().action == "REFUSED"
