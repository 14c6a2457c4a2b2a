"""A manifest of which no record can be made, or no table that clients obey, is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.streams.deciding.site import Site
from tests.streams.deciding.world import World, spec_of
from tidegate.streams.routing import faults

STEPS = (
    {"canary": {"weight": "10%", "hold": "60s", "min_samples": 100}},
    {"full": {"keep_previous": "60s"}},
)
LONG = "é" * 200
TEN_YEARS_MS = 3_660 * 86_400_000


def written(place: tuple[str | int, ...], value: Any, *release: dict[str, Any]) -> str:
    """The wire form of a sound spec with another value in one place."""
    document = json.loads(spec_of(*(release or STEPS), guardrails=[]).to_json())
    *above, last = place
    inner = document
    for key in above:
        inner = inner[key]
    inner[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("salt",), LONG, "400 bytes"),
        (("unit", "key"), LONG, "400 bytes"),
        (("variants", "champion", "model"), LONG, "400 bytes"),
        (("variants", "champion", "artifact"), LONG, "400 bytes"),
        (("holdout",), {"share_bp": 500, "salt": LONG}, "400 bytes"),
        (("metrics", "conversion", "window_ms"), 25 * 86_400_000, "24 days at most"),
        (("release", 0, "canary", "hold_ms"), TEN_YEARS_MS + 1, "longer than 3660 days"),
        (("release", 0, "canary", "hold_ms"), 10**400, "longer than 3660 days"),
        (("schedule",), {"start": "2026-12-01 09:00", "start_ms": 10**400, "frozen": []}, "less"),
        (("schedule",), {"frozen": [[0, 10**400]]}, "less"),
    ],
)
def test_what_no_record_can_hold_is_refused(
    place: tuple[str | int, ...], value: Any, said: str
) -> None:
    """As a first manifest and as a changed one: an error at the writing would stop the decider."""
    world = World()
    world.order("APPLY", written(place, value))
    assert (world.last().action, world.tables()) == ("REFUSED", [])
    assert said in world.last().reason
    running = world.apply(*STEPS)
    world.order("APPLY", written(place, value), parent=running.digest())
    assert world.last().action == "REFUSED"
    assert said in world.last().reason


def test_the_longest_times_and_texts_can_be_written() -> None:
    """What is accepted at the edge of its limits goes into tables and commands."""
    release = {"recreate": {"timeout": "3660d"}}
    world = World()
    world.order("APPLY", written(("salt",), "é" * 127, release))
    Site(world, "one").run(5)
    assert world.commands("STOP")
    longest = World()
    longest.order("APPLY", written(("metrics", "conversion", "window_ms"), 24 * 86_400_000))
    assert longest.tables()[-1].reward_wait_ms == 24 * 86_400_000


def listed(number: int, letters: int) -> dict[str, Any]:
    """Overrides for so many groups of sixteen users each."""
    users = [[f"{place:0{letters}}" for place in range(16)] for _ in range(number)]
    when = [{"attribute": "user", "test": "in", "value": each} for each in users]
    return {"overrides": [{"when": {"tests": [test]}, "variant": "challenger"} for test in when]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (listed(100, 13), "conditions take"),
        ({**listed(93, 13), "unit": {"key": "\x01" * 255, "fallback": "\x01" * 254}}, "32768"),
        ({"layer": {"name": "l", "share_bp": 1, "salt": "l", "slots": [[0, 20_000]]}}, "slot"),
        ({"layer": {"name": "l", "share_bp": 1, "salt": "l", "slots": [[0, 5], [5, 3]]}}, "slot"),
        (
            {"layer": {"name": "l", "share_bp": 1, "salt": "l",
                       "slots": [[place, place + 1] for place in range(0, 202, 2)]}},
            "at most 100",
        ),
        ({"variants": {f"v{n}": {"model": "m", "version": "1"} for n in range(256)}}, "255"),
    ],
)  # fmt: skip
def test_a_manifest_whose_tables_no_client_obeys_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    """Services would stay with what they knew, and a rollback would reach nobody by its table."""
    world = World()
    document = json.loads(spec_of(*STEPS).to_json())
    if "variants" in changes:
        changes["variants"] |= document["variants"]
    world.order("APPLY", json.dumps({**document, **changes}))
    assert (world.last().action, world.tables()) == ("REFUSED", [])
    assert said in world.last().reason
    running = world.apply(*STEPS)
    world.order("APPLY", json.dumps({**document, **changes}), parent=running.digest())
    assert world.last().action == "REFUSED"


def test_the_longest_rules_that_are_accepted_are_obeyed() -> None:
    """Overrides just below the limit: their table has no fault."""
    world = World()
    document = json.loads(spec_of(*STEPS).to_json())
    world.order("APPLY", json.dumps({**document, **listed(93, 13)}))
    assert world.last().action == "APPLY", world.last().reason
    assert len(world.tables()[-1].rules or "") > 30_000
    assert not faults(world.tables()[-1])
