"""Instances that come late to a blue/green release, and releases to instances in a freeze."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams.deciding.site import NEW, OLD, Place, Site, said
from tests.streams.deciding.world import START_MS, World, spec_of
from tidegate.schemas.manifest.schedule import Schedule

BLUE_GREEN = {
    "blue_green": {
        "smoke": [{"request": {"x": 1}, "expect": 1}], "keep_previous": "20s", "timeout": "30s",
        "instances": 2,
    }
}  # fmt: skip


def switched(*names: str) -> tuple[World, Site]:
    """Green serves everybody, blue is kept."""
    world = World()
    world.apply(BLUE_GREEN, guardrails=[])
    site = Site(world, *names)
    site.run(10)
    assert world.last().weights["challenger"] == 10_000
    return world, site


# -- late instances


@pytest.mark.parametrize("seconds", [1, 15, 20, 21, 22])
def test_whoever_joins_after_the_switch_is_brought_along(seconds: int) -> None:
    """Blue is retired where green serves: nobody is left without any version."""
    world, site = switched("i1", "i2")
    site.run(seconds)
    if world.last().phase == "COMPLETED":
        return
    site.places["i3"] = Place()
    site.say("i3")
    for _ in range(60):
        site.run(1)
        assert all("OK" in place.servers.values() for place in site.places.values())
    assert site.versions() == {"i1": ["v2"], "i2": ["v2"], "i3": ["v2"]}
    assert world.last().phase == "COMPLETED"


def test_blue_stays_everywhere_while_one_instance_has_only_blue() -> None:
    """It does not hear: it is asked again each time-out, and the release waits."""
    world, site = switched("i1", "i2")
    site.places["i3"] = Place(deaf=True)
    site.say("i3")
    site.run(70)
    assert site.versions() == {"i1": ["v1", "v2"], "i2": ["v1", "v2"], "i3": ["v1"]}
    told = [line for line in said(world) if "deployed on i3" in line]
    assert told == [
        "DEPLOY ranker v2 is not there: deployed on i3",
        "DEPLOY ranker v2 is still not there after 30 s: deployed on i3",
        "DEPLOY ranker v2 is still not there after 30 s: deployed on i3",
    ]
    site["i3"].deaf = False
    site.run(40)
    assert site.versions() == {"i1": ["v2"], "i2": ["v2"], "i3": ["v2"]}


def test_who_joins_a_way_back_is_left_with_blue() -> None:
    """Green is retired by name: an instance that came with it alone gets blue first."""
    world, site = switched("i1", "i2")
    world.order("ROLLBACK")
    site.run(6)
    site.places["i3"] = Place(servers={NEW: "OK"})
    site.say("i3")
    for _ in range(40):
        site.run(1)
        assert site["i3"].servers
    assert set(map(tuple, site.versions().values())) == {("v1",)}


# -- freezes


def frozen(step: dict[str, Any], begins_ms: int = 0, lasts_ms: int = 100_000) -> World:
    """A release to instances, frozen from so long after the log's beginning on."""
    begins_ms += START_MS
    schedule = Schedule().model_copy(update={"frozen": ((begins_ms, begins_ms + lasts_ms),)})
    world = World()
    spec = spec_of(step, guardrails=[]).model_copy(update={"schedule": schedule})
    world.order("APPLY", spec)
    return world


@pytest.mark.parametrize("step", [BLUE_GREEN, {"rolling": {}}, {"recreate": {}}])
def test_a_freeze_holds_back_what_changes_instances(step: dict[str, Any]) -> None:
    """Nothing is deployed, patched or stopped before it is over; then the release goes its way."""
    world = frozen(step)
    site = Site(world, "i1", "i2")
    site.run(90)
    assert site.versions() == {"i1": ["v1"], "i2": ["v1"]}
    assert set(world.actions()) == {"APPLY", "HOLD"}
    assert sum("frozen until" in line for line in said(world)) == 1
    site.run(60)
    assert site.versions() == {"i1": ["v2"], "i2": ["v2"]}


def test_a_freeze_between_two_batches_holds_the_next_one() -> None:
    """The first was patched before it began."""
    world = frozen({"rolling": {}}, begins_ms=2_500)
    site = Site(world, "i1", "i2", "i3")
    site.run(60)
    assert list(site.versions().values()).count(["v1"]) == 2


def test_a_freeze_does_not_prolong_a_downtime() -> None:
    """What was stopped before it began is started in it: waiting would be an outage."""
    world = frozen({"recreate": {}}, begins_ms=1_500)
    site = Site(world, "i1")
    site.run(20)
    assert site.versions() == {"i1": ["v2"]}


def test_green_that_has_answered_waits_for_the_end_of_a_freeze() -> None:
    """The switch is held, and no time-out makes a failure of it."""
    world = frozen(BLUE_GREEN, begins_ms=2_500)
    site = Site(world, "i1", "i2")
    site.run(90)
    assert world.last().action == "HOLD"
    assert site.versions() == {"i1": ["v1", "v2"], "i2": ["v1", "v2"]}
    site.run(60)
    assert world.last().phase == "COMPLETED"


@pytest.mark.parametrize("step", [BLUE_GREEN, {"rolling": {}}, {"recreate": {}}])
def test_the_way_back_is_never_frozen(step: dict[str, Any]) -> None:
    """What a rollback undoes on instances waits for nothing."""
    world = frozen(step, begins_ms=4_500)
    site = Site(world, "i1", "i2")
    site.run(5)
    world.order("ROLLBACK")
    site.run(30)
    assert all(list(place.servers) == [OLD] for place in site.places.values())
