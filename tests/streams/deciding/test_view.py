"""The view: one screen as data, published when something changed and not more."""

from __future__ import annotations

import pytest

from tests.streams.deciding.world import BANDIT, CANARY, NAME, Group, World
from tidegate.streams.deciding.decider import IDLE_STATUS_MS

FULL = {"full": {"keep_previous": "60s"}}


@pytest.fixture
def world() -> World:
    """A canary that has just begun."""
    world = World()
    world.apply({"canary": CANARY}, {"bandit": BANDIT}, FULL)
    return world


def test_it_shows_step_shares_and_what_comes_next(world: World) -> None:
    """Everything `tidegate get` prints."""
    world.tick(30_000)
    world.observe(Group("champion", 270, 3), Group("challenger", 30))
    world.tick(1_000)
    view = world.view()
    assert (view["experiment"], view["phase"], view["strategy"]) == (NAME, "RUNNING", "canary")
    assert (view["step"], view["steps"], view["increment"]) == (0, 3, 0)
    assert view["progress"] == "held 30 s of 1:00 min"
    assert view["next"] == (
        "canary 30 % when 1:00 min are held, 100 requests counted (30 so far)"
        " and no guardrail fails"
    )
    champion, challenger = view["variants"]
    assert (champion["weight"], champion["requests"]) == (9_000, 270)
    assert champion["counts"]["prediction"] == {"input": 270, "counted": 0, "pending": 270}
    assert (challenger["name"], challenger["model_version"]) == ("challenger", "v2")
    assert view["guardrails"][0]["verdict"] == "NO_DATA"
    assert view["health"]["requests"] == 300
    assert view["watermark"] == world.log_time_ms - 1_000


def test_it_says_which_step_follows(world: World) -> None:
    """The next step's name, or the end."""
    world.order("PROMOTE", arguments={"to": "next"})
    assert world.view()["next"].startswith("full when one variant is best with 95 %")
    world.order("PROMOTE")
    assert world.view()["next"] == "the end of the release when 1:00 min are over"
    world.order("ROLLBACK")
    assert world.view()["next"] == ""


def test_a_flag_is_set_by_hand() -> None:
    """It waits for nobody but a person."""
    world = World()
    world.apply()
    assert (world.view()["progress"], world.view()["next"]) == ("set by hand", "someone sets it")


def test_a_rolled_back_variant_keeps_its_breach_on_the_screen(world: World) -> None:
    """People see why."""
    world.observe(Group("champion", 500, 5), Group("challenger", 500, 100))
    view = world.view()
    assert view["variants"][1]["rolled_back"]
    assert view["guardrails"][0]["verdict"] == "FAIL"
    assert "at least" in view["guardrails"][0]["sentence"]


def test_it_tells_who_has_applied_the_table(world: World) -> None:
    """Confirmed, live, who is missing, how long it took."""
    world.applied("a", version=1)
    world.applied("b", version=0)
    world.tick(1_000)
    assert world.view()["applied"] == {
        "epoch": 0,
        "version": 1,
        "live": 2,
        "confirmed": 1,
        "missing": ["b"],
        "missing_instances": ["host"],
        "slowest_ms": 0,
    }


def test_true_propensities_are_near_one(world: World) -> None:
    """The sum of 1/p by all requests; half the requests at p = 1/2 give 1."""
    world.observe(Group("champion", 400), Group("challenger", 400))
    world.tick(1_000)
    assert world.view()["health"]["propensity"] == {"champion": 1.0, "challenger": 1.0}


def test_propensities_add_up_though_a_variant_began_later(world: World) -> None:
    """Requests under tables that gave a variant no share could not have been its own."""
    world.observe(Group("champion", 5_000, version=1, propensity=1.0))
    world.observe(
        Group("champion", 7_600, version=2, propensity=0.95),
        Group("challenger", 400, version=2, propensity=0.05),
    )
    world.tick(1_000)
    found = world.view()["health"]["propensity"]
    assert found == {"champion": pytest.approx(1.0), "challenger": pytest.approx(1.0)}


def test_few_requests_say_nothing_about_propensities(world: World) -> None:
    """Chance alone moves the sum of a few by more than a fifth."""
    world.observe(Group("champion", 1_000), Group("challenger", 399))
    world.tick(1_000)
    assert list(world.view()["health"]["propensity"]) == ["champion"]


def test_it_is_published_when_something_changed_and_seldom_otherwise(world: World) -> None:
    """Once a second at most, and every 10 s so that readers find it near the end of the log."""
    first = len(world.commands("STATUS"))
    world.tick(IDLE_STATUS_MS - 1_000)
    assert len(world.commands("STATUS")) == first
    world.observe(Group("champion", 10))
    world.observe(Group("champion", 10))
    world.tick(1_000)
    assert len(world.commands("STATUS")) == first + 1
    world.tick(IDLE_STATUS_MS)
    assert len(world.commands("STATUS")) == first + 2
