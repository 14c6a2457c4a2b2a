"""People in the loop: steps that wait for them, approvals, rights, a second try."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams.deciding.test_orders import FULL, STEPS
from tests.streams.deciding.test_scheduling import HOUR_MS, begun, starting
from tests.streams.deciding.world import CANARY, ERRORS, NAME, Group, World, spec_of
from tidegate.schemas.manifest.layer import LayerShare
from tidegate.streams.deciding.rights import loosened

PAUSE: dict[str, Any] = {"pause": {}}
APPROVE: dict[str, Any] = {"approve": {"by": ["owner", "risk"]}}
SHARE = {"canary": {"weight": "10%", "hold": "1s", "min_samples": 100}}


def at_the_second_step(second: dict[str, Any], **changes: Any) -> World:
    """A canary was passed, and the step behind it has been looked at."""
    world = World()
    world.apply(SHARE, second, FULL, **changes)
    healthy(world)
    assert world.state.step == 1
    healthy(world)
    return world


def healthy(world: World) -> None:
    """Good requests of both variants, and time."""
    world.tick(3_000)
    world.observe(Group("champion", 4_000), Group("challenger", 4_000))


def breaching(world: World) -> None:
    """The candidate fails far more often than control."""
    world.tick(1_000)
    world.observe(Group("champion", 4_000), Group("challenger", 4_000, errors=2_000))


def approve(world: World, **changes: Any) -> str:
    """An approval of what runs."""
    named = {
        "generation": world.state.generation,
        "arguments": {"step": str(world.state.step)},
    }
    world.order("APPROVE", **{**named, **changes})
    return str(world.last().reason)


# -- pause


def test_a_pause_keeps_the_shares_and_waits() -> None:
    """The candidate goes on with what it had; nothing moves, however long it lasts."""
    world = at_the_second_step(PAUSE)
    assert (world.last().phase, world.last().action) == ("PAUSED", "PAUSE")
    assert world.last().weights["challenger"] == 1_000
    before = len(world.decisions())
    for _ in range(3):
        healthy(world)
    assert len(world.decisions()) == before


def test_a_resume_passes_the_pause() -> None:
    """Not the same step once more."""
    world = at_the_second_step(PAUSE)
    world.order("RESUME")
    assert (world.last().phase, world.last().step) == ("PROMOTED", 2)
    assert world.last().weights["challenger"] == 10_000


def test_a_pause_with_a_time_goes_on_by_itself() -> None:
    """Watermarked time, and only while guardrails have data and none fails."""
    world = at_the_second_step({"pause": {"duration": "10s"}})
    assert world.state.phase == "RUNNING"
    world.tick(9_000)
    world.observe(Group("champion", 300), Group("challenger", 300))
    assert (world.last().phase, world.last().step) == ("PROMOTED", 2)
    assert "paused for" in world.last().reason


def test_a_release_may_begin_with_a_pause() -> None:
    """Nobody is served by a candidate before somebody resumes."""
    world = World()
    world.apply(PAUSE, *STEPS)
    assert world.last().weights == {"champion": 10_000, "challenger": 0}
    healthy(world)
    assert world.last().phase == "PAUSED"
    world.order("RESUME")
    assert (world.last().step, world.last().weights["challenger"]) == (1, 1_000)


@pytest.mark.parametrize("second", [PAUSE, APPROVE])
def test_guardrails_watch_while_people_are_waited_for(second: dict[str, Any]) -> None:
    """A breach rolls back; nobody need be asked for that."""
    world = at_the_second_step(second)
    breaching(world)
    assert (world.last().action, world.last().phase) == ("ROLLBACK", "ROLLED_BACK")


def test_a_step_back_from_a_pause_has_a_smaller_share() -> None:
    """The last increment at which candidates had less, not the same share once more."""
    world = World()
    world.apply(
        {"canary": {"weights": ["5%", "20%"], "hold": "1s", "min_samples": 100}}, PAUSE, FULL,
        guardrails=[{**ERRORS, "on_breach": "step_back"}],
    )  # fmt: skip
    for _ in range(3):
        healthy(world)
    assert (world.state.step, world.state.weights["challenger"]) == (1, 2_000)
    breaching(world)
    assert world.last().action == "STEP_BACK"
    assert (world.state.step, world.state.increment) == (0, 0)
    assert world.state.weights["challenger"] == 500


# -- approve


def test_an_approval_passes_its_step() -> None:
    """Name, role and reason stand in the decision."""
    world = at_the_second_step(APPROVE)
    assert "waits for approval by owner or risk" in world.last().reason
    reason = approve(world, actor="eve", role="risk", reason="looked at it")
    assert reason == "approved as risk by eve: looked at it"
    assert (world.last().phase, world.last().step) == ("PROMOTED", 2)


def test_two_people_are_two_people() -> None:
    """The same person twice is one; the one before stays named."""
    world = at_the_second_step({"approve": {"by": "owner", "approvals": 2}})
    assert approve(world, actor="ann").startswith("approved as owner (1 of 2) by ann")
    assert world.last().action == "APPROVE"
    assert approve(world, actor="ann") == "APPROVE refused: ann has approved already"
    assert approve(world, actor="bob").startswith("approved as owner after ann by bob")
    assert world.state.phase == "PROMOTED"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generation": 0}, "names its generation"),
        ({"generation": 2}, "meant for generation 2"),
        ({"arguments": {"step": "0"}}, "names its step"),
        ({"arguments": {}}, "names its step"),
        ({"role": "operator"}, "needs the role owner or risk"),
        ({"actor": " "}, "nobody's name"),
        ({"reason": ""}, "gives no reason"),
    ],
)
def test_an_approval_that_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    """It is for one generation and one step, by somebody who may, with a reason."""
    world = at_the_second_step(APPROVE)
    assert said in approve(world, **changes)
    assert (world.last().action, world.state.step) == ("REFUSED", 1)


def test_an_approval_of_another_step_is_no_approval() -> None:
    """Neither before its step nor behind it."""
    world = World()
    world.apply(SHARE, APPROVE, FULL)
    assert "waits for no approval" in approve(world)
    world = at_the_second_step(APPROVE)
    approve(world)
    assert "waits for no approval" in approve(world)


@pytest.mark.parametrize("action", ["RESUME", "PROMOTE"])
def test_only_an_approval_passes_an_approve_step(action: str) -> None:
    """Neither a resume nor a promotion in another role goes round it."""
    world = at_the_second_step(APPROVE)
    world.order(action, role="operator")
    assert world.last().action == "REFUSED"
    assert "approv" in world.last().reason
    world.order("PROMOTE", role="operator", arguments={"to": "next"})
    assert world.last().action == "REFUSED"
    world.order("PROMOTE", role="risk")
    assert world.last().action == "PROMOTE"


@pytest.mark.parametrize("arguments", [{}, {"to": "next"}])
def test_one_person_cannot_stand_for_several(arguments: dict[str, str]) -> None:
    """Four eyes are not two that promote: past such a step only approvals lead."""
    world = at_the_second_step({"approve": {"by": "owner", "approvals": 2}})
    world.order("PROMOTE", arguments=arguments)
    assert world.last().action == "REFUSED"
    assert "waits for approval by 2 people" in world.last().reason
    approve(world, actor="ann")
    approve(world, actor="bob")
    assert (world.last().action, world.last().phase) == ("PROMOTE", "PROMOTED")


def test_approvals_are_kept_in_the_state() -> None:
    """A decider that is restored knows who has approved."""
    world = at_the_second_step({"approve": {"by": "owner", "approvals": 2}})
    approve(world, actor="ann")
    other = world.fresh()
    other.load(world.decider.dump())
    assert other.experiments[NAME].approvals == [["ann", "owner"]]
    assert other.dump() == world.decider.dump()


# -- rights


def test_promoting_needs_the_named_role() -> None:
    """Rolling back needs none."""
    world = World()
    world.apply(*STEPS, rights={"promote": "owner"})
    world.order("PROMOTE", role="operator")
    assert "promoting needs the role owner" in world.last().reason
    world.order("PROMOTE", role="owner")
    assert world.last().action == "PROMOTE"
    world.order("ROLLBACK", role="operator")
    assert world.last().action == "ROLLBACK"


@pytest.mark.parametrize("order", ["PROMOTE", "PAUSE", "RESUME", "ABORT", "RETRY"])
@pytest.mark.parametrize(
    ("changes", "said"), [({"actor": " "}, "name"), ({"reason": " "}, "reason")]
)
def test_orders_have_an_actor_and_a_reason(order: str, changes: dict[str, str], said: str) -> None:
    """Nothing happens by nobody and for nothing."""
    world = World()
    world.apply(*STEPS)
    world.order(order, **changes)
    assert world.last().action == "REFUSED"
    assert said in world.last().reason


def test_a_rollback_without_a_reason_is_obeyed() -> None:
    """Clients have obeyed the record itself."""
    world = World()
    world.apply(*STEPS)
    world.order("ROLLBACK", reason="", actor=" ")
    assert world.last().action == "ROLLBACK"


COMPARED = ("compare", "worse_by")
MAX = {"max": "1%"}
LOOSER = [
    {"guardrails": []},
    {"guardrails": [{**ERRORS, "worse_by": "2pp"}]},
    {"guardrails": [{**ERRORS, "worse_by": "1%"}]},
    {"guardrails": [{**ERRORS, "min_samples": 201}]},
    {"guardrails": [{**ERRORS, "alpha": 0.01}]},
    {"guardrails": [{**ERRORS, "on_breach": "pause"}]},
    {"guardrails": [{**ERRORS, "on_breach": "alert"}]},
    {"guardrails": [{key: item for key, item in ERRORS.items() if key not in COMPARED} | MAX]},
    {"rights": {"loosen": ["owner", "operator"], "promote": "owner"}},
    {"rights": {"loosen": "owner"}},
    {"release": [{"canary": CANARY}, {"pause": {}}, FULL]},
    {"release": [{"canary": CANARY}, {"approve": {"by": ["owner", "x"]}}, FULL]},
]
AS_STRICT = [
    {},
    {"guardrails": [{**ERRORS, "worse_by": "0.5pp"}]},
    {"guardrails": [ERRORS, {**ERRORS, "metric": "conversion", "worse_by": "10%"}]},
    {"guardrails": [{**ERRORS, "min_samples": 100, "alpha": 0.1}]},
    {"release": [{"canary": CANARY}, {"approve": {"by": "owner", "approvals": 2}}, FULL]},
]
GUARDED: dict[str, Any] = {
    "rights": {"loosen": "owner", "promote": "owner"},
    "release": [{"canary": CANARY}, {"approve": {"by": "owner"}}, FULL],
}


@pytest.mark.parametrize("changes", LOOSER)
def test_loosening_needs_the_named_role(changes: dict[str, Any]) -> None:
    """Refused by what is loosened; in the role, and without the right asked for, it is applied."""
    before = spec_of(**GUARDED)
    after = spec_of(**{**GUARDED, **changes})
    assert len(loosened(before, after)) == 1
    world = World()
    world.order("APPLY", before)
    world.order("APPLY", after, parent=before.digest(), role="operator")
    assert world.last().action == "REFUSED"
    assert "needs the role owner" in world.last().reason
    world.order("APPLY", after, parent=before.digest(), role="owner")
    assert world.last().action == "APPLY"


@pytest.mark.parametrize("changes", AS_STRICT)
def test_tightening_needs_no_role(changes: dict[str, Any]) -> None:
    """Whoever makes a guard stricter may."""
    assert loosened(spec_of(**GUARDED), spec_of(**{**GUARDED, **changes})) == []


def test_bounds_are_loosened_on_their_side() -> None:
    """A higher maximum, a lower minimum; the other way they are tightened."""

    def guard(**bound: Any) -> Any:
        metric = "errors" if "max" in bound else "conversion"
        return spec_of(
            {"canary": CANARY}, FULL,
            guardrails=[{"metric": metric, "min_samples": 9, "on_breach": "pause", **bound}],
        )  # fmt: skip

    assert loosened(guard(max="1%"), guard(max="2%"))
    assert not loosened(guard(max="2%"), guard(max="1%"))
    assert loosened(guard(min="2%"), guard(min="1%"))
    assert not loosened(guard(min="1%"), guard(min="2%"))


def test_patience_is_loosening() -> None:
    """Checks where a breach acted at once, longer waiting for data, a breaker that only tells."""

    def guard(breaker: str = "pause", **patience: Any) -> Any:
        rule = {**ERRORS, "on_breach": "pause", **patience}
        return spec_of({"canary": CANARY}, FULL, guardrails=[rule], on_breaker=breaker)

    checks = {"every": "5m", "failures": 3}
    fails = {"on_no_data": "fail", "no_data_after": "30m"}
    assert loosened(guard(), guard(checks=checks)) == ["the guardrail on errors"]
    assert loosened(guard(checks=checks), guard(checks=checks)) == []
    assert loosened(guard(checks=checks), guard()) == []
    assert loosened(guard(**fails), guard()) == ["the guardrail on errors"]
    assert loosened(guard(**fails), guard(**{**fails, "no_data_after": "31m"}))
    assert loosened(guard(), guard(**fails)) == []
    assert loosened(guard(), guard("alert")) == ["on_breaker"]
    assert loosened(guard(), guard("rollback")) == []


# -- retry


def test_a_retry_begins_a_paused_step_anew() -> None:
    """Evidence counts from there; the shares are those the step begins with."""
    world = World()
    world.apply(*STEPS)
    world.order("PAUSE")
    world.order("RETRY")
    assert (world.last().action, world.last().phase) == ("RETRY", "RUNNING")
    assert world.state.samples("challenger") == 0
    assert world.state.first_table == world.state.key
    assert world.tables()[-1].version == world.state.version


@pytest.mark.parametrize("end", ["ABORT", "ROLLBACK"])
def test_a_retry_of_what_ended_is_a_new_generation(end: str) -> None:
    """What was rolled back stays so in its generation; promoting rights are asked for."""
    world = World()
    world.apply(*STEPS, rights={"promote": "owner"})
    world.order(end)
    world.order("RETRY", role="operator")
    assert "promoting needs the role owner" in world.last().reason
    world.order("RETRY")
    assert (world.last().action, world.last().generation, world.last().step) == ("RETRY", 2, 0)
    assert world.state.rolled_back == []
    assert world.last().weights["challenger"] == 1_000


def test_a_running_release_is_not_retried() -> None:
    """There is nothing to try again."""
    world = World()
    world.apply(*STEPS)
    world.order("RETRY")
    assert world.last().reason == "RETRY refused: not possible while the experiment is RUNNING"


def test_a_second_try_before_the_start_starts_nothing() -> None:
    """A release that waits for its start goes on waiting when it was paused and is tried again."""
    world = begun(starting(HOUR_MS))
    world.order("PAUSE")
    world.order("RETRY")
    assert (world.last().action, world.last().weights["champion"]) == ("RETRY", 10_000)
    world.tick(HOUR_MS)
    world.observe()
    assert (world.last().action, world.last().weights["challenger"]) == ("ADVANCE", 1_000)


def test_a_release_in_a_layer_is_not_tried_again_on_its_old_slots() -> None:
    """They may be another experiment's by now: only `apply` asks the layer."""
    slots = LayerShare.model_construct(name="shop", share_bp=5_000, salt="s", slots=((0, 5_000),))
    world = World()
    world.order("APPLY", spec_of(*STEPS).model_copy(update={"layer": slots}))
    world.order("PAUSE")
    world.order("RETRY")
    assert world.last().action == "RETRY"
    world.order("ROLLBACK")
    world.order("RETRY")
    assert world.last().action == "REFUSED"
    assert "slots of shop may be allotted otherwise; apply it again" in world.last().reason


# -- names


def test_a_first_manifest_needs_a_name_under_it() -> None:
    """As every later one does."""
    world = World()
    world.order("APPLY", spec_of(*STEPS), actor=" ")
    assert world.last().reason == "APPLY refused: nobody's name stands under it"
    assert world.tables() == []


# -- the A/B step in a release


def test_an_ab_step_ends_in_its_winner() -> None:
    """Planned evidence, one test, full: only requests of the step count."""
    world = World()
    ab = {"mde": "2pp", "max_duration": "1d", "on_inconclusive": "control", "alpha": 0.05}
    world.apply({"ab": ab}, FULL)
    assert world.last().weights == {"champion": 5_000, "challenger": 5_000}
    for _ in range(8):
        world.tick(1_000)
        world.observe(
            Group("champion", 1_000),
            Group("challenger", 1_000),
            Group("champion", 1_000, converted=100, closed=True),
            Group("challenger", 1_000, converted=130, closed=True),
        )
    assert (world.last().action, world.last().phase, world.last().variant) == (
        "PROMOTE", "PROMOTED", "challenger",
    )  # fmt: skip
    assert "p < 0.001" in world.last().reason


# -- full alone


def test_a_release_of_full_alone_promotes_the_only_candidate() -> None:
    """It is asked for nothing else; in time the release has ended with it."""
    world = World()
    world.apply(FULL)
    assert world.last().weights == {"champion": 0, "challenger": 10_000}
    world.tick(61_000)
    world.observe(Group("challenger", 10))
    assert (world.last().phase, world.last().weights["challenger"]) == ("COMPLETED", 10_000)
