"""Shadow steps decided: each on what was compared since it began, and in one way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams.deciding.world import NAME, World, spec_of
from tidegate.streams.estimation import ShadowTally

FULL = {"full": {"keep_previous": "60s"}}


def shadow(**changes: Any) -> dict[str, Any]:
    """A shadow step of a hundred compared requests, of which one in ten may differ."""
    settings = {
        "sample": "100%", "until": {"requests": 100}, "require": {"disagreement": "<= 10%"},
        "on_inconclusive": "hold", **changes,
    }  # fmt: skip
    return {"shadow": settings}


def tally(world: World) -> ShadowTally:
    """What the candidate answered unseen in this step."""
    found: ShadowTally = world.state.ledger.shadows["challenger"]
    return found


def compare(world: World, pairs: int, disagree: int) -> None:
    """So many compared requests, and the next look at them."""
    found = tally(world)
    found.pairs += pairs
    found.disagree += disagree
    found.agree += pairs - disagree
    world.tick(1_000)
    world.observe()


def stopped() -> World:
    """Half of what was compared differs: a person is asked."""
    world = World()
    world.apply(shadow(), FULL, guardrails=[])
    compare(world, 1_000, 500)
    assert (world.last().action, world.last().verdict) == ("PAUSE", "FAIL")
    return world


def test_a_second_try_is_judged_on_its_own_answers() -> None:
    """The cause was mended: what came before counts in the books, and not against it."""
    world = stopped()
    world.order("RETRY")
    world.tick(1_000)
    world.observe()
    assert world.last().action == "RETRY"
    compare(world, 1_000, 0)
    assert (world.last().action, world.last().verdict) == ("PROMOTE", "PASS")
    assert world.decider.counters()[f"{NAME}/1/challenger/shadow.counted"] == 2_000


def test_a_resume_looks_again_at_the_evidence_old_and_new() -> None:
    """Resuming forgives nothing of what was compared."""
    world = stopped()
    world.order("RESUME")
    world.tick(1_000)
    world.observe()
    assert (world.last().action, world.last().verdict) == ("PAUSE", "FAIL")


def test_a_second_shadow_step_has_answers_of_its_own() -> None:
    """Another sample or requirement is not passed on what the first one compared."""
    world = World()
    world.apply(shadow(), shadow(until={"requests": 500}), FULL, guardrails=[])
    compare(world, 1_000, 0)
    assert (world.last().action, world.state.step) == ("ADVANCE", 1)
    world.tick(1_000)
    world.observe()
    assert world.state.step == 1
    compare(world, 500, 0)
    assert world.last().action == "PROMOTE"


def test_what_a_step_compares_survives_a_restart() -> None:
    """Also what was set aside."""
    world = stopped()
    world.order("RETRY")
    other = world.fresh()
    other.load(world.decider.dump())
    assert other.dump() == world.decider.dump()
    assert other.counters() == world.decider.counters()


@pytest.mark.parametrize(
    ("before", "after", "generation"),
    [
        ([shadow(), FULL], [shadow(score_tolerance=0.5), FULL], 2),
        ([shadow(score_tolerance=0.5), FULL], [shadow(score_tolerance=0.5, alpha=0.1), FULL], 1),
    ],
)
def test_another_tolerance_is_another_comparison(
    before: list[dict[str, Any]], after: list[dict[str, Any]], generation: int
) -> None:
    """What differed by the old one may not by the new: a generation opens, as for metrics."""
    world = World()
    running = world.apply(*before, guardrails=[])
    compare(world, 50, 50)
    world.order("APPLY", spec_of(*after, guardrails=[]), parent=running.digest())
    assert world.state.generation == generation
    assert ("other score_tolerance would be mixed" in world.last().reason) == (generation == 2)
