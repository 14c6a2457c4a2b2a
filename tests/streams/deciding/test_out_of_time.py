"""A canary's share whose time is over: only what is inconclusive passes, where that is written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams.deciding.world import ERRORS, Group, World

FULL = {"full": {"keep_previous": "60s"}}


def late(
    answer: str, requests: int, errors: int, needed: int = 1_000, **guardrail: Any
) -> World:
    """A canary that has run for longer than it may."""
    canary = {
        "weights": ["10%", "30%"], "hold": "60s", "min_samples": needed,
        "max_duration": "2m", "on_inconclusive": answer,
    }  # fmt: skip
    world = World()
    world.apply({"canary": canary}, FULL, guardrails=[{**ERRORS, **guardrail}])
    world.observe(
        Group("champion", requests, requests // 100), Group("challenger", requests, errors)
    )
    world.tick(130_000)
    world.observe()
    return world


def test_too_few_requests_pass_where_the_manifest_says_so() -> None:
    """400 of 1,000 are inconclusive, and the guardrail has its 200."""
    world = late("pass", 400, 4)
    assert (world.last().action, world.last().verdict) == ("ADVANCE", "INCONCLUSIVE")


def test_no_request_at_all_never_passes() -> None:
    """Nobody was served: no share and no promotion follows, however long it takes."""
    world = late("pass", 0, 0)
    for _ in range(3):
        world.tick(130_000)
        world.observe()
    assert [(item.action, item.verdict) for item in world.decisions()] == [
        ("APPLY", ""),
        ("HOLD", "NO_DATA"),
    ]
    assert world.last().reason.endswith("2:00 min are over, and no data is no success")


@pytest.mark.parametrize(("canary_needs", "guardrail_needs"), [(100, 1_000), (500, 1_000)])
def test_a_guardrail_without_its_data_never_passes(
    canary_needs: int, guardrail_needs: int
) -> None:
    """Whether the share has enough requests for itself or not."""
    world = late("pass", 400, 4, canary_needs, min_samples=guardrail_needs)
    assert (world.last().action, world.last().verdict) == ("HOLD", "NO_DATA")


@pytest.mark.parametrize("canary_needs", [100, 5_000])
def test_what_a_guardrail_is_sure_of_never_passes(canary_needs: int) -> None:
    """A breach that a check has still to count is a breach."""
    checks = {"every": "10m", "failures": 2}
    world = late("pass", 3_000, 900, canary_needs, on_breach="pause", checks=checks)
    assert (world.last().action, world.last().verdict) == ("HOLD", "FAIL")


@pytest.mark.parametrize(("requests", "verdict"), [(0, "NO_DATA"), (400, "INCONCLUSIVE")])
def test_a_share_that_may_not_wait_stops_for_a_person(requests: int, verdict: str) -> None:
    """`fail` stops whatever it was that kept the share waiting."""
    world = late("fail", requests, requests // 100)
    assert (world.last().action, world.last().verdict) == ("PAUSE", verdict)
