"""A step is judged on what its own tables routed, so every step has tables of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.streams.deciding.world import ERRORS, Group, World

CANARY = {"canary": {"weights": ["10%"], "hold": "60s", "min_samples": 100}}
FULL = {"full": {"keep_previous": "60s"}}


def sound(world: World, requests: int = 400) -> None:
    """A minute of requests without a difference, routed by the last table."""
    errors = requests // 100
    world.observe(Group("champion", requests, errors), Group("challenger", requests, errors))
    world.tick(61_000)
    world.observe()


def passed(*release: Mapping[str, Any], minutes: int, **changes: Any) -> World:
    """A release that nothing is wrong with, after some minutes."""
    world = World()
    world.apply(*release, **changes)
    for _ in range(minutes):
        sound(world)
    return world


def test_a_timed_pause_after_a_canary_passes_on_its_own_requests() -> None:
    """The shares stay, and the pause's table is another one: guardrails get data and it passes."""
    world = passed(CANARY, {"pause": {"duration": "60s"}}, FULL, minutes=3)
    assert world.actions() == ["APPLY", "ADVANCE", "PROMOTE", "FINISH"]
    assert [table.version for table in world.tables()] == [1, 2, 3]


def test_a_healthy_candidate_is_not_rolled_back_while_people_take_their_time() -> None:
    """Missing data is a breach, but a step that waits for approval is not without data."""
    guardrail = {**ERRORS, "on_no_data": "fail", "no_data_after": "5m"}
    waits = {"approve": {"by": "owner"}}
    world = passed(CANARY, waits, FULL, minutes=10, guardrails=[guardrail])
    assert world.actions() == ["APPLY", "ADVANCE", "PAUSE"]
    assert world.state.samples("challenger") == 9 * 400


def test_a_test_that_follows_on_equal_shares_gets_its_evidence() -> None:
    """A/B at half, after a canary at half: the same shares, and requests of its own."""
    ab = {"mde": "20%", "max_duration": "1h", "on_inconclusive": "stop", "min_samples": 100}
    canary = {"weight": "50%", "cap": "50%", "hold": "60s", "min_samples": 100}
    world = passed({"canary": canary}, {"ab": ab}, FULL, minutes=1)
    assert world.last().action == "ADVANCE"
    world.observe(
        Group("champion", 20_000, 200), Group("challenger", 20_000, 200),
        Group("champion", 20_000, converted=2_000, closed=True),
        Group("challenger", 20_000, converted=4_000, closed=True),
    )  # fmt: skip
    world.tick(1_000)
    world.observe()
    assert world.actions() == ["APPLY", "ADVANCE", "PROMOTE"]


def test_a_flag_set_to_what_it_is_begins_with_a_table() -> None:
    """Setting a flag begins its evidence anew; so does setting it to the same shares."""
    world = World()
    world.apply()
    for _ in range(2):
        world.order("SET", arguments={"challenger": "5000"})
        assert world.tables()[-1].version == world.state.version == world.state.first_table[1]
