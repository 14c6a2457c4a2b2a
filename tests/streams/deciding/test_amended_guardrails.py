"""What is known of a guardrail survives an amended manifest only as knowledge of that guardrail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams.deciding.world import ERRORS, Group, World, spec_of

STEPS = (
    {"canary": {"weight": "10%", "hold": "60s", "min_samples": 100}},
    {"full": {"keep_previous": "60s"}},
)


def latency(limit: str, **changes: Any) -> dict[str, Any]:
    """A guardrail on the p99 of latency that pauses."""
    return {"metric": "latency", "max": limit, "min_samples": 200, "on_breach": "pause", **changes}


def resumed(*guardrails: dict[str, Any], requests: int = 1_000) -> World:
    """A release that was paused for 20 ms of latency, and resumed all the same."""
    world = World()
    world.apply(*STEPS, guardrails=guardrails)
    slow(world, requests)
    assert world.last().action == "PAUSE"
    world.order("RESUME")
    return world


def slow(world: World, requests: int, latency_ms: float = 20.0) -> None:
    """Requests of which those of the candidate take so long."""
    slower = Group("challenger", requests, latency_ms=latency_ms)
    world.observe(Group("champion", requests, latency_ms=5.0), slower)


def amend(world: World, *guardrails: dict[str, Any]) -> None:
    """Other guardrails, the same generation."""
    parent = world.state.spec.digest()
    world.order("APPLY", spec_of(*STEPS, guardrails=guardrails), parent=parent)
    assert (world.last().action, world.state.generation) == ("APPLY", 1)


@pytest.mark.parametrize("later_ms", [20.0, 500.0])
def test_another_bound_after_a_resume_stops_nobody(later_ms: float) -> None:
    """Counts above a changed bound begin at nothing: none may be taken from them.

    A crash here came again at every start, since the log is read again.
    """
    world = resumed(latency("10ms"))
    amend(world, latency("120ms"))
    for _ in range(5):
        slow(world, 400, later_ms)
        world.tick(1_000)
        world.observe()
    [found] = world.view()["guardrails"]
    assert found["n"] == 2_000 if later_ms < 120.0 else found["verdict"] == "FAIL"


def test_a_changed_guardrail_is_as_quick_as_a_fresh_one() -> None:
    """Requests set aside of one bound are not missing under another: harm is found as soon."""
    world = resumed(latency("10ms"), requests=5_000)
    amend(world, latency("120ms", on_breach="rollback"))
    slow(world, 300, 900.0)
    assert world.last().action == "ROLLBACK"


def test_what_a_resume_has_set_aside_stays_aside_when_guardrails_are_renumbered() -> None:
    """A guardrail put before another does not bring back the other's old evidence."""
    world = resumed(latency("10ms"))
    amend(world, ERRORS, latency("10ms"))
    slow(world, 10, 5.0)
    assert world.last().action == "APPLY"
    slow(world, 400, 20.0)
    assert world.last().action == "PAUSE"


def test_the_evidence_of_a_guardrail_survives_a_bound_of_another_one() -> None:
    """A second guardrail on the same metric takes nothing from the first."""
    world = World()
    world.apply(*STEPS, guardrails=[latency("120ms")])
    slow(world, 1_000)
    amend(world, latency("300ms", on_breach="alert"), latency("120ms"))
    assert [(item["limit"], item["n"]) for item in world.view()["guardrails"]] == [
        (300.0, 0),
        (120.0, 1_000),
    ]


def test_an_alert_that_was_told_mutes_no_other_guardrail() -> None:
    """One alert per increment and guardrail, whichever number the guardrail has."""
    told = {**ERRORS, "on_breach": "alert"}
    world = World()
    world.apply(*STEPS, guardrails=[told])
    world.observe(Group("champion", 1_000, 10), Group("challenger", 1_000, 300))
    amend(world, latency("50ms", on_breach="alert"), told)
    slow(world, 1_000, 900.0)
    assert [command.reason.split()[0] for command in world.commands("ALERT")] == [
        "errors",
        "latency",
    ]


def test_failed_checks_are_counted_for_the_guardrail_they_were_made_of() -> None:
    """A check that failed once is not the first failure of the guardrail that takes its number."""
    checked = {**ERRORS, "on_breach": "pause", "checks": {"every": "10s", "failures": 2}}
    other = {**checked, "worse_by": "2pp"}
    world = World()
    world.apply(*STEPS, guardrails=[checked])

    def check() -> None:
        world.observe(Group("champion", 500, 5), Group("challenger", 500, 200))
        world.tick(11_000)
        world.observe()

    check()
    assert world.state.checks["0/challenger"].failures == 1
    amend(world, other, checked)
    assert {mark: item.failures for mark, item in world.state.checks.items()} == {
        "1/challenger": 1
    }
    check()
    assert world.last().action == "PAUSE"
    assert "2 checks failed" in world.last().reason
