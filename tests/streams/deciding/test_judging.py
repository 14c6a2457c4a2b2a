"""What evidence moves, and when: guardrails at once, steps by the watermark only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.streams.deciding.world import (
    BANDIT,
    CANARY,
    ERRORS,
    NAME,
    START_MS,
    Group,
    World,
    spec_of,
)

FULL = {"full": {"keep_previous": "60s"}}
LATENCY = {"metric": "latency", "max": "120ms", "min_samples": 200, "on_breach": "pause"}


def good(requests: int = 300) -> tuple[Group, Group]:
    """Requests without a difference, enough for every guardrail."""
    return Group("champion", requests, 3), Group("challenger", requests, 3)


def bad() -> tuple[Group, Group]:
    """The candidate fails one request in five."""
    return Group("champion", 500, 5), Group("challenger", 500, 100)


def canary(**changes: Any) -> World:
    """A canary that has just begun."""
    world = World()
    world.apply({"canary": CANARY}, FULL, **changes)
    return world


def test_a_canary_goes_through_its_shares_to_the_end() -> None:
    """Held, fed, never failed: every share, then everything, then the end of the release."""
    world = canary()
    for _ in range(4):
        world.tick(61_000)
        world.observe(*good())
    assert world.actions() == ["APPLY", "ADVANCE", "PROMOTE", "FINISH"]
    assert [item.weights["challenger"] for item in world.decisions()] == [
        1000,
        3000,
        10_000,
        10_000,
    ]
    assert [item.phase for item in world.decisions()] == [
        "RUNNING",
        "RUNNING",
        "PROMOTED",
        "COMPLETED",
    ]
    assert [item.verdict for item in world.decisions()[1:]] == ["PASS", "PASS", "PASS"]
    assert world.decisions()[1].reason == (
        "canary 10 % held for 1:01 min with 300 requests (at least 100), no guardrail failed"
    )


def test_time_without_a_joiner_passes_nothing() -> None:
    """Log time runs for an hour, the watermark stands: waiting, and no verdict at all."""
    world = canary()
    world.observe(*good())
    world.tick(3_600_000)
    assert world.actions() == ["APPLY"]
    world.observe(*good())
    assert world.actions() == ["APPLY", "ADVANCE"]


def test_what_was_applied_before_the_first_tick_holds_from_there() -> None:
    """Log time begins at 0: a share must not have been held for fifty years."""
    world = World(log_time_ms=0)
    world.apply({"canary": CANARY}, FULL)
    world.log_time_ms = START_MS
    world.decider.advance(START_MS)
    world.observe(*good())
    assert world.actions() == ["APPLY"]
    world.tick(60_000)
    world.observe(*good())
    assert world.actions() == ["APPLY", "ADVANCE"]


def test_facts_before_the_first_tick_pass_nothing() -> None:
    """Joiners have log time already, this decider's own logs have none: nothing has lasted yet."""
    world = World(log_time_ms=0)
    world.apply({"canary": CANARY}, FULL)
    world.observe(*good(), at_ms=START_MS)
    assert world.actions() == ["APPLY"]
    world.log_time_ms = START_MS
    world.decider.advance(START_MS)
    world.observe(*good(), at_ms=START_MS + 100)
    assert world.actions() == ["APPLY"]


def test_one_slow_joiner_of_two_holds_everything() -> None:
    """The watermark is the smallest of all source partitions."""
    world = World(partitions=2)
    world.apply({"canary": CANARY}, FULL)
    world.observe(*good(), source=1)
    world.tick(120_000)
    for _ in range(5):
        world.tick(1_000)
        world.observe(*good(), source=0)
    assert world.actions() == ["APPLY"]
    world.observe(source=1)
    assert world.actions() == ["APPLY", "ADVANCE"]


def test_catching_up_passes_steps_by_the_time_of_the_facts() -> None:
    """A joiner that comes back tells of the past first: a share is passed when *that* has held."""
    world = canary()
    start_ms = world.log_time_ms
    world.tick(300_000)
    for second in range(0, 60, 10):
        world.observe(*good(), at_ms=start_ms + second * 1_000)
    assert world.actions() == ["APPLY"]
    world.observe(*good(), at_ms=start_ms + 60_000)
    assert world.actions() == ["APPLY", "ADVANCE"]
    assert world.last().watermark == start_ms + 60_000
    # The next share's table was published at log time, so its hold begins there.
    world.observe(*good(), at_ms=start_ms + 200_000)
    assert world.actions() == ["APPLY", "ADVANCE"]


def test_waiting_for_requests_is_said_once() -> None:
    """No data and too little data are told, once each, and move nothing."""
    world = canary(guardrails=[])
    for _ in range(3):
        world.tick(61_000)
        world.observe(Group("champion", 300))
    for _ in range(3):
        world.tick(1_000)
        world.observe(Group("challenger", 10))
    assert world.actions() == ["APPLY", "HOLD", "HOLD"]
    assert [item.verdict for item in world.decisions()] == ["", "NO_DATA", "INCONCLUSIVE"]
    assert "challenger has 0 of 100 requests: waiting" in world.decisions()[1].reason
    assert len(world.tables()) == 1
    world.observe(Group("challenger", 90))
    world.tick(1_000)
    world.observe()
    assert world.last().action == "ADVANCE"


def test_a_decider_that_starts_again_does_not_repeat_itself() -> None:
    """What was said is part of the state."""
    world = canary(guardrails=[])
    for _ in range(3):
        world.tick(61_000)
        world.observe(Group("champion", 300))
        state = world.decider.dump()
        world.decider = world.fresh()
        world.decider.load(state)
    assert world.actions() == ["APPLY", "HOLD"]


def test_requests_of_earlier_tables_do_not_fill_a_share() -> None:
    """Each share needs its own requests."""
    world = canary(guardrails=[])
    world.tick(61_000)
    world.observe(*good())
    assert world.last().action == "ADVANCE"
    world.tick(61_000)
    world.observe(Group("champion", 300, version=1), Group("challenger", 300, version=1))
    assert world.last().verdict == "NO_DATA"


@pytest.mark.parametrize(
    "step",
    [
        {"pause": {"duration": "1m"}},
        {"ab": {"weights": {"champion": "80%", "challenger": "20%"}, "mde": "30pp",
                "max_duration": "1d", "on_inconclusive": "control"}},
        {"bandit": {"every": "1s", "until": {"p_best": "95%"}, "max_duration": "1d"}},
    ],
    ids=lambda step: next(iter(step)),
)  # fmt: skip
def test_a_step_that_moves_no_share_has_a_table_of_its_own(step: Mapping[str, Any]) -> None:
    """Evidence of a step is what its tables routed: a pause, or the shares of the step before it
    again, would wait for ever without one."""
    world = World()
    share = "50%" if "bandit" in step else "20%"
    canary_step = {"canary": {"weight": share, "cap": "50%", "hold": "1m"}}
    world.apply(canary_step, step, {"full": {"keep_previous": "1h"}})
    world.tick(61_000)
    world.observe(*good())
    assert (world.last().action, world.last().step) == ("ADVANCE", 1)
    assert world.tables()[-1].version == world.last().version
    world.tick(61_000)
    world.observe(
        Group("champion", 900), Group("champion", 900, converted=100, closed=True),
        Group("challenger", 900), Group("challenger", 900, converted=600, closed=True),
    )  # fmt: skip
    assert world.last().action == "PROMOTE", world.last().reason


def test_a_guardrail_without_data_holds_the_step() -> None:
    """No data is never success."""
    world = canary(guardrails=[{**ERRORS, "min_samples": 1_000}])
    world.tick(61_000)
    world.observe(*good())
    assert (world.last().action, world.last().verdict) == ("HOLD", "NO_DATA")
    assert "guardrail errors has 300 of 1,000 requests" in world.last().reason
    world.tick(1_000)
    world.observe(*good(700))
    assert world.last().action == "ADVANCE"


def test_too_few_requests_fail_nothing() -> None:
    """Below min_samples a guardrail says nothing, whatever it looks like."""
    world = canary()
    world.observe(Group("champion", 199), Group("challenger", 199, 199))
    assert world.actions() == ["APPLY"]


def test_requests_that_were_not_split_teach_nothing() -> None:
    """Breaker, staleness and stickiness are counted and kept out."""
    world = canary()
    world.observe(Group("champion", 500), Group("challenger", 500, 500, reason="BREAKER"))
    assert world.actions() == ["APPLY"]
    assert world.state.ledger.tallies["challenger"].exposures == 500


def test_a_breach_pauses_when_that_is_asked() -> None:
    """The shares stay; a resume judges anew, on what comes after its table."""
    world = canary(guardrails=[{**ERRORS, "on_breach": "pause"}])
    world.observe(*bad())
    assert (world.last().action, world.last().verdict) == ("PAUSE", "FAIL")
    assert world.last().weights["challenger"] == 1_000
    world.observe(*bad())
    assert world.actions() == ["APPLY", "PAUSE"]
    world.order("RESUME")
    world.observe(*good())
    assert world.last().action == "RESUME"
    world.observe(*bad())
    assert world.last().action == "PAUSE"


def test_a_latency_bound_pauses_on_the_share_above_it() -> None:
    """p99 at most 120 ms: at most 1 % above; a resume counts anew."""
    world = canary(guardrails=[LATENCY])
    world.observe(
        Group("champion", 300), Group("challenger", 285), Group("challenger", 15, latency_ms=300.0)
    )
    assert world.last().action == "PAUSE"
    assert "of requests above 120 ms, at least" in world.last().reason
    assert "(limit 1.0 %, 95 % always valid, n = 300)" in world.last().reason
    world.order("RESUME")
    world.observe(Group("champion", 300), Group("challenger", 300))
    assert world.last().action == "RESUME"
    world.observe(Group("challenger", 30, latency_ms=300.0))
    assert world.last().action == "PAUSE"


def test_a_breach_steps_back_and_judges_from_there() -> None:
    """One share back, on new evidence alone; at the smallest share it rolls back."""
    world = canary(guardrails=[{**ERRORS, "on_breach": "step_back"}])
    world.tick(61_000)
    world.observe(*good())
    world.observe(*bad())
    assert [item.action for item in world.decisions()] == ["APPLY", "ADVANCE", "STEP_BACK"]
    assert (world.last().weights["challenger"], world.state.increment) == (1_000, 0)
    world.observe(*good())
    assert world.last().action == "STEP_BACK"
    world.observe(*bad())
    assert (world.last().action, world.last().phase) == ("ROLLBACK", "ROLLED_BACK")


def test_a_breach_in_a_bandit_steps_back_to_the_canary_before() -> None:
    """The increment before may be another step's."""
    world = World()
    world.apply(
        {"canary": CANARY},
        {"bandit": BANDIT},
        FULL,
        guardrails=[{**ERRORS, "on_breach": "step_back"}],
    )
    for _ in range(2):
        world.tick(61_000)
        world.observe(*good())
    assert world.last().step == 1
    world.observe(*bad())
    assert (world.last().action, world.last().step, world.state.increment) == ("STEP_BACK", 0, 1)


@pytest.mark.parametrize("first", [{"bandit": BANDIT}, {"canary": {**CANARY, "weights": ["5%"]}}])
def test_with_nothing_below_a_step_back_is_a_rollback(first: Mapping[str, Any]) -> None:
    """The smallest share is none at all."""
    world = World()
    world.apply(first, FULL, guardrails=[{**ERRORS, "on_breach": "step_back"}])
    world.observe(*bad())
    assert world.last().action == "ROLLBACK"


def test_a_step_back_after_a_shadow_is_a_rollback() -> None:
    """A shadow serves nobody: it is no smaller share."""
    world = World()
    world.apply(
        {"shadow": {"until": {"requests": 5}}},
        {"canary": CANARY},
        FULL,
        guardrails=[{**ERRORS, "on_breach": "step_back"}],
    )
    world.order("PROMOTE", arguments={"to": "next"})
    world.observe(*bad())
    assert world.last().action == "ROLLBACK"


def test_what_was_promoted_cannot_step_back() -> None:
    """There is no concurrent control to compare with: all or nothing."""
    world = canary(guardrails=[{**ERRORS, "on_breach": "step_back"}])
    world.order("PROMOTE")
    world.observe(Group("champion", 500, 5, version=1), Group("challenger", 500, 100, version=1))
    assert world.last().action == "ROLLBACK"


def test_the_gravest_reaction_goes_first() -> None:
    """Two guardrails fail in one batch: the rollback is not held up by the pause."""
    world = canary(guardrails=[{**ERRORS, "on_breach": "pause"}, ERRORS])
    world.observe(*bad())
    assert world.actions() == ["APPLY", "ROLLBACK"]


def test_only_the_candidate_that_fails_goes() -> None:
    """The release goes on with the others; control takes the share."""
    world = World()
    world.apply({"canary": CANARY}, {"bandit": BANDIT}, candidates=("blue", "green"))
    world.observe(Group("champion", 500, 5), Group("blue", 500, 100), Group("green", 500, 5))
    assert (world.last().variant, world.last().phase) == ("blue", "RUNNING")
    assert world.last().weights == {"champion": 9_500, "blue": 0, "green": 500}
    world.tick(61_000)
    world.observe(Group("champion", 500, 5), Group("green", 500, 5))
    assert world.last().weights == {"champion": 7_000, "blue": 0, "green": 3_000}


def test_two_candidates_can_fail_in_one_batch() -> None:
    """Each gets its decision."""
    world = World()
    world.apply({"bandit": BANDIT}, candidates=("blue", "green"))
    world.observe(Group("champion", 500, 5), Group("blue", 500, 99), Group("green", 500, 100))
    assert [item.variant for item in world.decisions()] == ["", "blue", "green"]
    assert world.last().phase == "ROLLED_BACK"
    assert [order.arguments["variant"] for order in world.own_orders()] == ["blue", "green"]


def test_a_breach_beats_a_passed_step_in_the_same_batch() -> None:
    """The batch that completes the hold also shows the harm: the harm counts."""
    world = canary()
    world.tick(61_000)
    world.observe(*bad())
    assert world.actions() == ["APPLY", "ROLLBACK"]


def test_guardrails_act_while_paused() -> None:
    """A pause stops the steps, not the watch."""
    world = canary()
    world.order("PAUSE")
    world.tick(100_000)
    world.observe(*good())
    assert world.actions() == ["APPLY", "PAUSE"]
    world.observe(*bad())
    assert world.last().action == "ROLLBACK"


def test_guardrails_act_on_what_was_promoted() -> None:
    """Outcomes of before may still tell of harm."""
    world = canary()
    world.order("PROMOTE")
    world.observe(Group("champion", 500, 5, version=1), Group("challenger", 500, 100, version=1))
    assert (world.last().action, world.last().phase) == ("ROLLBACK", "ROLLED_BACK")
    assert world.last().weights["champion"] == 10_000


def test_what_cannot_pause_tells_its_breach_once() -> None:
    """A flag stands where a person put it; the next set may be told of again."""
    world = World()
    world.apply(guardrails=[{**ERRORS, "on_breach": "pause"}])
    world.order("SET", arguments={"challenger": "5000"})
    world.observe(*bad())
    world.observe(*bad())
    assert world.actions() == ["APPLY", "SET", "HOLD"]
    assert world.last().verdict == "FAIL"
    world.order("SET", arguments={"challenger": "2500"})
    world.observe(*bad())
    assert world.actions()[-2:] == ["SET", "HOLD"]


def test_a_flag_is_rolled_back_by_its_guardrail() -> None:
    """It stays a flag, without that variant."""
    world = World()
    world.apply()
    world.order("SET", arguments={"challenger": "5000"})
    world.observe(*bad())
    assert (world.last().action, world.last().phase) == ("ROLLBACK", "FLAG")
    assert world.last().weights["challenger"] == 0


def closed(variant: str, requests: int, converted: int) -> Group:
    """Requests whose window has closed."""
    return Group(variant, requests, converted=converted, closed=True)


def bandit(*after: Mapping[str, Any], **settings: str) -> World:
    """A bandit that has just begun."""
    world = World()
    world.apply({"bandit": {**BANDIT, **settings}}, *after)
    return world


def test_a_bandit_moves_weights_and_promotes_the_winner() -> None:
    """Weights follow closed requests, then the best goes on alone."""
    world = bandit(FULL)
    world.tick(1_000)
    world.observe(*good(), closed("champion", 400, 40), closed("challenger", 400, 48))
    update = world.last()
    assert (update.action, update.verdict) == ("UPDATE", "INCONCLUSIVE")
    assert sum(update.weights.values()) == 10_000
    assert update.weights["challenger"] > update.weights["champion"] >= 500
    assert f"now challenger {update.weights['challenger'] / 100:g} %" in update.reason
    assert set(json.loads(update.evidence)["p_best"]) == {"champion", "challenger"}
    world.tick(1_000)
    world.observe(closed("champion", 4000, 400), closed("challenger", 4000, 560))
    assert (world.last().action, world.last().variant) == ("PROMOTE", "challenger")


def test_a_bandit_moves_no_share_further_than_its_manifest_says() -> None:
    """However sure it is, it goes there look by look; without a word it goes at once."""
    evidence = closed("champion", 400, 40), closed("challenger", 400, 48)
    shares = []
    for world in (bandit(FULL), bandit(FULL, max_change="10%")):
        for groups in (evidence, ()):
            world.tick(1_000)
            world.observe(*groups)
            shares.append(world.last().weights["challenger"])
    assert shares[0] == shares[1] > 7_000
    assert shares[2:] == [6_000, 7_000]


def test_a_bandit_that_control_wins_ends_the_release() -> None:
    """Control keeps everything."""
    world = bandit(FULL)
    world.tick(1_000)
    world.observe(*good(), closed("champion", 4000, 560), closed("challenger", 4000, 400))
    assert (world.last().action, world.last().phase, world.last().verdict) == (
        "FINISH",
        "COMPLETED",
        "FAIL",
    )
    assert world.last().weights == {"champion": 10_000, "challenger": 0}


def test_a_bandit_waits_for_its_guardrails_data() -> None:
    """A winner without evidence on harm is not promoted."""
    world = bandit(FULL)
    world.tick(1_000)
    world.observe(closed("champion", 4000, 400), closed("challenger", 4000, 560))
    assert (world.last().action, world.last().verdict) == ("HOLD", "NO_DATA")
    world.tick(1_000)
    world.observe(*good())
    assert world.last().action == "PROMOTE"


def test_a_bandit_without_winner_pauses_in_the_end() -> None:
    """Time is over: a person decides."""
    world = bandit(FULL)
    world.tick(3_600_000)
    world.observe(*good(), closed("champion", 400, 40), closed("challenger", 400, 40))
    assert (world.last().action, world.last().verdict) == ("PAUSE", "INCONCLUSIVE")


def test_a_bandit_as_last_step_leaves_its_shares() -> None:
    """Without `full` the release ends where it stands."""
    world = bandit()
    world.tick(1_000)
    world.observe(*good(), closed("champion", 4000, 400), closed("challenger", 4000, 560))
    assert (world.last().action, world.last().phase) == ("FINISH", "COMPLETED")
    assert world.last().variant == "challenger"


def test_several_candidates_before_full_need_a_person() -> None:
    """Nobody guesses a winner; the specification forbids it, the decider does not rely on it."""
    world = World()
    world.apply({"canary": CANARY}, {"bandit": BANDIT}, FULL, candidates=("blue", "green"))
    world.state.spec = spec_of({"canary": CANARY}, FULL, candidates=("blue", "green"))
    world.state.increment = 1
    world.tick(61_000)
    world.observe(Group("champion", 500), Group("blue", 500), Group("green", 500))
    assert world.last().action == "PAUSE"
    assert "a person must promote one of blue and green" in world.last().reason


@pytest.mark.parametrize("action", ["ABORT", "ROLLBACK"])
def test_nothing_moves_after_the_end(action: str) -> None:
    """No step, no breach, whatever comes."""
    world = canary()
    world.order(action)
    before = world.actions()
    for _ in range(3):
        world.tick(61_000)
        world.observe(*good(), *bad())
    assert world.actions() == before


def test_drift_is_told_and_acts_on_nothing() -> None:
    """Detectors' alarms stand in the evidence and the view."""
    world = canary(guardrails=[])
    for errors in (0, 0, 300, 300):
        world.tick(1_000)
        world.observe(Group("champion", 300), Group("challenger", 300, errors))
    assert world.actions() == ["APPLY"]
    (alarm,) = [item for item in world.view()["health"]["drift"] if item["metric"] == "errors"]
    assert (alarm["variant"], alarm["detector"]) == ("challenger", "adwin")
    assert alarm["detections"] >= 1


def test_the_objective_is_told_with_its_bounds() -> None:
    """Relative to control, once both sides have closed requests."""
    world = canary()
    world.tick(1_000)
    world.observe(*good(), closed("champion", 4000, 400), closed("challenger", 4000, 480))
    world.tick(1_000)
    (effect,) = world.view()["objective"]["effects"]
    assert (effect["candidate"], effect["mean"]) == ("challenger", 0.12)
    assert effect["lower"] < effect["estimate"] < effect["upper"]
    assert effect["estimate"] == pytest.approx(0.2)


def test_facts_of_an_older_generation_move_nothing() -> None:
    """Statistics never mix generations."""
    world = canary()
    world.order(
        "APPLY", spec_of({"canary": CANARY}, FULL, salt="again"), parent=world.state.spec.digest()
    )
    world.observe(*bad())
    assert world.actions() == ["APPLY", "APPLY"]
    assert world.state.ledger.tallies["challenger"].exposures == 0
    assert world.last().experiment == NAME
