"""What becomes of a release that was decided for one variant when that variant is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.streams.deciding.world import ERRORS, Group, World

AB: dict[str, Any] = {
    "ab": {"mde": "50%", "max_duration": "1h", "on_inconclusive": "stop", "min_samples": 100}
}
FULL = {"full": {"keep_previous": "60s"}}
BROKEN = {"metric": "errors", "max": "5%", "min_samples": 200, "on_breach": "rollback"}


def decided(*following: dict[str, Any], **changes: Any) -> World:
    """Of two candidates `better` has won against control, and `worse` has lost."""
    world = World()
    changes.setdefault("guardrails", [{**ERRORS, "min_samples": 100}])
    world.apply(AB, *following, FULL, candidates=("better", "worse"), **changes)
    serve(world)
    world.observe(
        Group("champion", 20_000, converted=2_000, closed=True),
        Group("better", 20_000, converted=4_000, closed=True),
        Group("worse", 20_000, converted=1_000, closed=True),
    )
    world.tick(1_000)
    world.observe()
    assert world.state.winner == "better"
    return world


def serve(world: World, **errors: int) -> None:
    """3,000 requests of everybody, of which one in a hundred fails, or as many as named."""
    world.observe(
        *(Group(name, 3_000, errors.get(name, 30)) for name in ("champion", "better", "worse"))
    )


@pytest.mark.parametrize("following", [{"pause": {"duration": "10s"}}, {"pause": {}}])
def test_a_winner_that_is_rolled_back_takes_the_release_with_it(following: dict[str, Any]) -> None:
    """Before its promotion too: who lost the test is not promoted in its place."""
    world = decided(following)
    world.tick(1_000)
    world.observe()
    serve(world, better=900)
    last = world.last()
    assert (last.action, last.variant, last.phase) == ("ROLLBACK", "better", "ROLLED_BACK")
    assert last.weights == {"champion": 10_000, "better": 0, "worse": 0}
    for _ in range(6):
        serve(world)
        world.tick(11_000)
        world.observe()
    assert world.last() == last


def test_a_loser_that_is_rolled_back_leaves_the_winner_its_way() -> None:
    """Whoever is not the winner is only taken out."""
    world = decided({"pause": {"duration": "10s"}})
    serve(world, worse=900)
    assert (world.last().action, world.last().phase) == ("ROLLBACK", "RUNNING")
    world.tick(11_000)
    serve(world)
    world.observe()
    assert (world.last().action, world.last().variant) == ("PROMOTE", "better")


def test_an_heir_of_what_was_promoted_is_guarded() -> None:
    """A person lets another candidate take over: it serves everybody, so it is watched."""
    world = decided(guardrails=[BROKEN])
    assert world.state.phase == "PROMOTED"
    world.tick(50_000)
    world.order("ROLLBACK", arguments={"variant": "better", "to": "worse"}, generation=1)
    assert (world.last().phase, world.state.winner) == ("PROMOTED", "worse")
    assert world.last().weights["worse"] == 10_000
    world.tick(20_000)
    world.observe()
    # What served before is kept for a minute from now on, not from the promotion of another.
    assert world.last().action == "ROLLBACK"
    serve(world, worse=2_500)
    assert (world.last().phase, world.last().weights["champion"]) == ("ROLLED_BACK", 10_000)
    assert json.loads(world.last().evidence)["breach"]["candidate"] == "worse"
