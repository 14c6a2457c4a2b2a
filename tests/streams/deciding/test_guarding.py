"""What a breach, a check and missing data ask for, and when each is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams.deciding.test_judging import FULL, bad, canary, good
from tests.streams.deciding.world import CANARY, ERRORS, METRICS, NAME, Group, World, spec_of

CHECKED: dict[str, Any] = {
    **ERRORS,
    "on_breach": "pause",
    "checks": {"every": "10s", "failures": 3, "consecutive": 2},
}
MISSING: dict[str, Any] = {**ERRORS, "on_no_data": "fail", "no_data_after": "30s"}
UNSURE = (Group("champion", 300, 3), Group("challenger", 300, 12))


def sound() -> tuple[Group, Group]:
    """So much without a difference that the guardrail surely passes."""
    return Group("champion", 20_000, 200), Group("challenger", 20_000, 200)


def check(world: World, *groups: Group) -> None:
    """Facts, and the watermark passes the next check."""
    world.tick(11_000)
    world.observe(*groups)


def test_an_alert_holds_nothing_for_want_of_data_either() -> None:
    """Whoever is only to be told is not waited for; the step's own conditions hold."""
    world = canary(guardrails=[{**ERRORS, "on_breach": "alert", "min_samples": 10_000}])
    world.observe(Group("champion", 400, 4), Group("challenger", 400, 4))
    world.tick(61_000)
    world.observe()
    assert world.actions() == ["APPLY", "ADVANCE"]


def test_an_alert_is_told_once_and_the_release_goes_on() -> None:
    """`on_breach: alert` holds nothing: one decision and one ALERT per increment."""
    world = canary(guardrails=[{**ERRORS, "on_breach": "alert"}])
    world.observe(*bad())
    world.observe(*bad())
    assert world.actions() == ["APPLY", "HOLD"]
    assert (world.last().verdict, world.last().phase) == ("FAIL", "RUNNING")
    [alert] = world.commands("ALERT")
    assert alert.reason == world.last().reason
    assert alert.decision_id == world.last().decision_id
    world.tick(61_000)
    world.observe(*bad())
    assert world.actions()[2] == "ADVANCE"
    world.observe(*bad())
    assert world.actions()[2:] == ["ADVANCE", "HOLD"]
    assert len(world.commands("ALERT")) == 2


def test_the_gravest_of_several_answers_counts() -> None:
    """Whatever else fails in the same batch, and in whichever order it is written."""
    for order in (1, -1):
        world = canary(guardrails=[{**ERRORS, "on_breach": "alert"}, ERRORS][::order])
        world.observe(*bad())
        assert world.actions() == ["APPLY", "ROLLBACK"]


def test_two_breaches_of_a_flag_are_told_once_each() -> None:
    """A flag cannot pause; two that fail at once must not call each other up for ever."""
    world = World()
    pausing = {**ERRORS, "on_breach": "pause"}
    world.apply(guardrails=[pausing, {**pausing, "worse_by": "2pp"}])
    world.order("SET", arguments={"challenger": "5000"})
    world.observe(*bad())
    world.observe(*bad())
    assert world.actions() == ["APPLY", "SET", "HOLD", "HOLD"]


def test_a_step_needs_evidence_of_its_own() -> None:
    """What a guardrail saw before the step began does not pass it."""
    world = canary()
    world.tick(61_000)
    world.observe(*good())
    assert world.last().action == "ADVANCE"
    world.tick(61_000)
    world.observe(Group("champion", 150), Group("challenger", 150))
    assert (world.last().action, world.last().verdict) == ("HOLD", "NO_DATA")
    assert "guardrail errors has 150 of 200 requests" in world.last().reason
    world.tick(1_000)
    world.observe(Group("champion", 50), Group("challenger", 50))
    assert world.last().action == "PROMOTE"


def test_a_check_that_fails_in_a_row_breaks_the_guardrail() -> None:
    """One failed check is no breach, the second in a row is."""
    world = canary(guardrails=[CHECKED])
    check(world, *bad())
    assert world.actions() == ["APPLY"]
    check(world, *bad())
    assert (world.last().action, world.last().verdict) == ("PAUSE", "FAIL")
    assert world.last().reason.endswith("; 2 checks failed, 2 in a row")


def test_failed_checks_count_in_all_though_others_passed() -> None:
    """A passed check ends a row and forgives nothing: the third failure in all breaks it."""
    world = canary(guardrails=[CHECKED])
    for groups in (bad(), sound(), bad(), sound()):
        check(world, *groups)
    assert world.actions() == ["APPLY"]
    check(world, *bad())
    assert world.last().action == "PAUSE"
    assert world.last().reason.endswith("; 3 checks failed, 1 in a row")


def test_an_unsure_check_neither_counts_nor_ends_a_row() -> None:
    """Failed, unsure, empty, failed: two in a row, since nothing was well between them."""
    world = canary(guardrails=[CHECKED])
    check(world, *bad())
    check(world, *UNSURE)
    check(world)
    assert world.actions() == ["APPLY"]
    check(world, *bad())
    assert world.last().action == "PAUSE"


def test_a_check_judges_what_came_since_the_last_one() -> None:
    """Old harm does not fail a check again; batches between checks fail nothing."""
    world = canary(guardrails=[CHECKED])
    check(world, *bad())
    for _ in range(4):
        check(world, *sound())
    assert world.state.checks["0/challenger"].failures == 1
    world.tick(1_000)
    world.observe(*bad())
    assert world.state.checks["0/challenger"].failures == 1


def test_checks_begin_anew_with_a_step() -> None:
    """Failures of one increment are not held against the next."""
    world = World()
    world.apply({"canary": {**CANARY, "hold": "15s"}}, FULL, guardrails=[CHECKED])
    check(world, *bad())
    check(world, *sound())
    assert world.last().action == "ADVANCE"
    check(world, *bad())
    assert world.last().action == "ADVANCE"


def test_of_two_checks_that_fail_at_once_both_are_acted_on() -> None:
    """The second at the next watermark, by its own evidence, not at its next check by none."""
    world = World()
    stepping = {**CHECKED, "on_breach": "step_back", "checks": {"every": "10s", "consecutive": 1}}
    candidates = ("blue", "green")
    world.apply({"canary": CANARY}, candidates=candidates, guardrails=[stepping])
    failed = [Group(name, 1_000, 300) for name in candidates]
    check(world, Group("champion", 1_000, 10), *failed)
    assert (world.last().action, world.last().variant) == ("ROLLBACK", "blue")
    world.tick(1_000)
    world.observe()
    assert (world.last().action, world.last().variant) == ("ROLLBACK", "green")
    assert world.last().verdict == "FAIL"
    assert "n = 1,000); 1 checks failed, 1 in a row" in world.last().reason


def test_checks_survive_a_restart() -> None:
    """A decider that starts again counts on from where it stood."""
    world = canary(guardrails=[CHECKED])
    check(world, *bad())
    again = world.fresh()
    again.load(world.decider.dump())
    assert again.dump() == world.decider.dump()
    world.decider = again
    check(world, *bad())
    assert world.last().action == "PAUSE"


def test_missing_data_is_a_breach_where_the_manifest_says_so() -> None:
    """`on_no_data: fail`: the candidate served, time was over, and too little came."""
    world = canary(guardrails=[MISSING])
    world.observe(*good(100))
    world.tick(29_000)
    world.observe()
    assert world.actions() == ["APPLY"]
    world.tick(1_000)
    world.observe()
    assert (world.last().action, world.last().verdict) == ("ROLLBACK", "NO_DATA")
    assert world.last().reason == (
        "guardrail errors has 100 of 200 requests of challenger after 30 s, which the manifest"
        " calls a failure (no_data_after 30 s)"
    )


def test_data_is_missing_by_watermarked_time_only() -> None:
    """A joiner that is down is no missing data, however long."""
    world = canary(guardrails=[MISSING])
    start_ms = world.log_time_ms
    world.tick(3_600_000)
    world.observe(at_ms=start_ms + 1_000)
    assert world.actions() == ["APPLY"]


def test_who_serves_nobody_misses_nothing() -> None:
    """A flag at 0 % gets no requests, and must not be blamed for it."""
    world = World()
    world.apply(guardrails=[MISSING])
    world.tick(60_000)
    world.observe()
    assert world.actions() == ["APPLY"]


def test_time_outs_are_counted_by_themselves() -> None:
    """`statuses: [TIMEOUT]`: errors of another kind are another guardrail's matter."""
    timeouts = {"field": "status", "statuses": ["TIMEOUT"], "type": "rate", "goal": "decrease"}
    metrics = {**METRICS, "timeouts": timeouts}
    rule = {**ERRORS, "metric": "timeouts"}
    world = canary(metrics=metrics, guardrails=[rule])
    world.observe(*bad())
    assert world.actions() == ["APPLY"]
    metrics["timeouts"] = {**timeouts, "statuses": ["ERROR", "TIMEOUT"]}
    world = canary(metrics=metrics, guardrails=[rule])
    world.observe(*bad())
    assert world.last().action == "ROLLBACK"


@pytest.mark.parametrize("margin", ["10%", "20ms"])
def test_a_slower_tail_than_controls_rolls_back(margin: str) -> None:
    """p99 against concurrent p99: 20 % slower is found; the same, with all its noise, is not."""
    rule = {"metric": "latency", "compare": "control", "worse_by": margin, "min_samples": 200,
            "on_breach": "rollback"}  # fmt: skip
    slow = [Group("challenger", 950), Group("challenger", 50, latency_ms=400.0)]
    base = [Group("champion", 950), Group("champion", 50, latency_ms=200.0)]
    world = canary(guardrails=[rule])
    world.observe(*base, Group("challenger", 950), Group("challenger", 50, latency_ms=201.0))
    assert world.actions() == ["APPLY"]
    world = canary(guardrails=[rule])
    for _ in range(3):
        world.observe(*base, *slow)
    assert world.last().action == "ROLLBACK"
    assert world.last().reason.startswith("latency p99 4")
    assert "in control: +" in world.last().reason


def cut(world: World, client: str = "svc-1", **changes: Any) -> None:
    """A client says that its breaker has cut the challenger."""
    world.applied(client, breaker=["challenger"], health="DEGRADED", **changes)


def test_a_cut_candidate_is_told_once_and_seen() -> None:
    """By default a person hears of it, whichever clients say it, and the release goes on."""
    world = canary()
    cut(world)
    cut(world, "svc-2")
    assert world.actions() == ["APPLY", "HOLD"]
    assert world.last().reason == (
        "client svc-1 on host has cut challenger: its calls kept failing there (on_breaker: alert)"
    )
    [alert] = world.commands("ALERT")
    assert alert.reason == world.last().reason
    assert world.state.phase == "RUNNING"
    world.tick(1_000)
    unwell = world.view()["health"]["unwell"]
    assert [(item["client"], item["breaker"]) for item in unwell] == [
        ("svc-1", ["challenger"]),
        ("svc-2", ["challenger"]),
    ]


@pytest.mark.parametrize(("answer", "action"), [("pause", "PAUSE"), ("rollback", "ROLLBACK")])
def test_a_cut_candidate_is_stopped_where_the_manifest_says_so(answer: str, action: str) -> None:
    """`on_breaker`: the word of one client is enough then."""
    world = canary(on_breaker=answer)
    cut(world)
    cut(world, "svc-2")
    assert world.actions()[:2] == ["APPLY", action]
    assert world.actions().count("ROLLBACK") == (action == "ROLLBACK")


def test_cuts_of_another_generation_or_of_control_move_nothing() -> None:
    """An old word is about other models; control is never cut."""
    world = canary(on_breaker="rollback")
    cut(world, generation=7)
    world.applied("svc-1", breaker=["champion"])
    world.applied("svc-1", breaker=[])
    assert world.actions() == ["APPLY"]


def test_a_cut_is_about_one_experiment() -> None:
    """A word about another experiment neither heals a cut nor passes it on."""
    world = canary()
    world.order("APPLY", spec_of({"canary": CANARY}), experiment="other")
    cut(world)
    world.applied("svc-1", experiment="other", breaker=[])
    unwell = world.decider.clients.unwell(NAME, world.log_time_ms)
    assert [item["breaker"] for item in unwell] == [["challenger"]]
    assert world.decider.clients.unwell("other", world.log_time_ms) == []
