"""A release to instances that is paused: watched all the same, and nothing of it is forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.streams.deciding.site import NEW, Site, said
from tests.streams.deciding.world import World, spec_of

SMOKE = [{"request": {"x": 1}, "expect": 1}]
STEPS: dict[str, dict[str, Any]] = {
    "blue_green": {"smoke": SMOKE, "keep_previous": "60s", "instances": 2},
    "rolling": {"instances": 2, "hold": "60s"},
    "recreate": {"instances": 2, "timeout": "10m"},
}


def begin(name: str, seconds: int) -> tuple[World, Site]:
    """A release by one strategy that has run for a while on two instances."""
    world = World()
    world.apply({name: STEPS[name]}, guardrails=[])
    site = Site(world, "i1", "i2")
    site.run(seconds)
    return world, site


@pytest.mark.parametrize(("name", "seconds"), [("blue_green", 10), ("rolling", 3)])
def test_an_instance_that_falls_ill_in_a_pause_takes_everybody_back(
    name: str, seconds: int
) -> None:
    """Whoever pauses wants nothing new, not harm."""
    world, site = begin(name, seconds)
    world.order("PAUSE")
    site.run(5)
    assert world.last().action == "PAUSE"
    for place in site.places.values():
        if NEW in place.servers:
            place.servers[NEW] = "DEGRADED"
    site.run(40)
    assert world.last().phase == "ROLLED_BACK"
    assert set(map(tuple, site.versions().values())) == {("v1",)}


@pytest.mark.parametrize("name", STEPS)
def test_nothing_else_happens_in_a_pause(name: str) -> None:
    """No command is given or repeated, so no time-out runs, however long it lasts."""
    world, site = begin(name, 1)
    for place in site.places.values():
        place.deaf = True
    world.order("PAUSE")
    before = {name: set(place.servers) for name, place in site.places.items()}
    site.run(200)
    assert world.last().action == "PAUSE"
    assert {name: set(place.servers) for name, place in site.places.items()} == before


@pytest.mark.parametrize("way", ["RESUME", "RETRY", "APPLY"])
def test_a_downtime_is_told_whole(way: str) -> None:
    """A pause, or an amended manifest, in the middle of it does not make it shorter."""
    world, site = begin("recreate", 0)
    site.obey()
    assert not any(place.servers for place in site.places.values())
    for place in site.places.values():
        place.deaf = True
    site.run(5)
    if way == "APPLY":
        changed = spec_of({"recreate": {"instances": 2, "timeout": "20m"}}, guardrails=[])
        site.run(300)
        world.order("APPLY", changed, parent=world.state.spec.digest())
    else:
        world.order("PAUSE")
        site.run(300)
        world.order(way)
    for place in site.places.values():
        place.deaf = False
    site.run(10)
    [told] = [item for item in world.decisions() if "downtime" in item.reason]
    assert json.loads(told.evidence)["downtime_ms"] >= 300_000, said(world)
    assert site.versions() == {"i1": ["v2"], "i2": ["v2"]}
