"""A canary of instances: how many are patched, for how long, what follows, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.streams.deciding.site import Site, said
from tests.streams.deciding.world import ERRORS, Group, World, spec_of
from tests.streams.strategies.test_deployments import NEW, NOW_MS, OLD, at, instance
from tidegate.schemas.manifest.steps import Canary
from tidegate.streams.strategies import STRATEGIES
from tidegate.streams.strategies.base import ALL_BP, Kind, Move, Standing, Verdict
from tidegate.streams.strategies.canary_rolling import STRATEGY

SETTINGS = Canary.model_validate(
    {"weights": ["20%", "40%"], "cap": "50%", "hold": "60s", "rolling": {"instances": 5}}
)
NAMES = tuple(f"i{number}" for number in range(1, 6))
WELL = {"number": 1, "batch": ["i1"], "since_ms": NOW_MS - 5_000, "well_ms": NOW_MS}
CANARY = {"weights": ["20%", "40%"], "cap": "50%", "hold": "4s",
          "rolling": {"instances": 5, "health_timeout": "20s"}}  # fmt: skip
ROLLING = {"rolling": {"batch": 3, "max_unavailable": 3, "health_timeout": "20s", "instances": 5}}


def where(patched: int, memo: Mapping[str, Any], **changes: Any) -> Standing:
    """Five instances of which so many are patched."""
    fleet = [
        instance(name, {NEW: "OK"} if number < patched else {OLD: "OK"})
        for number, name in enumerate(NAMES)
    ]
    return at("canary", memo, *fleet, **{"settings": SETTINGS, "weights": {}, **changes})


def decided(found: Standing) -> Move | None:
    """What the strategy says."""
    return STRATEGY.decide(found)


def test_settings_say_which_form_it_is() -> None:
    """One name, two forms; the table of the rolling one stays with control."""
    plain = Canary.model_validate({"weight": "10%", "hold": "1s"})
    assert STRATEGIES["canary"].as_set(SETTINGS) is STRATEGY
    assert STRATEGIES["canary"].as_set(plain) is STRATEGIES["canary"]
    shares = STRATEGY.start(SETTINGS, "champion", ("challenger",), "", 1)
    assert shares is not None
    assert shares.weights == {"champion": ALL_BP}


def test_a_share_of_instances_stays_below_its_cap() -> None:
    """In a manifest that nobody checked, too."""
    settings = Canary.model_validate(
        {"weight": "50%", "cap": "20%", "hold": "1s", "rolling": {"max_unavailable": 9}}
    )
    fleet = [instance(f"i{number:02}", {OLD: "OK"}) for number in range(10)]
    move = decided(at("canary", {}, *fleet, settings=settings))
    assert move is not None
    assert len(move.commands) == 2


@pytest.mark.parametrize(
    ("share", "known", "patched"),
    [("10%", 5, 1), ("20%", 5, 1), ("40%", 5, 2), ("50%", 5, 2), ("50%", 2, 1), ("1%", 100, 1)],
)
def test_a_share_is_one_instance_at_least_and_half_at_most(
    share: str, known: int, patched: int
) -> None:
    """Rounded down, and something is left to compare with."""
    settings = Canary.model_validate(
        {"weight": share, "cap": "50%", "hold": "1s", "rolling": {"max_unavailable": 9}}
    )
    fleet = [instance(f"i{number:02}", {OLD: "OK"}) for number in range(known)]
    move = decided(at("canary", {}, *fleet, settings=settings))
    assert move is not None
    assert move.kind is Kind.DEPLOY
    assert len(move.commands) == patched


def test_instances_of_a_share_are_patched_one_after_another() -> None:
    """The next one waits for the last to be well, evidence up to then, and every guardrail's
    data."""
    first = decided(where(0, {}))
    assert first is not None
    assert [item.instance for item in first.commands] == ["i1"]
    assert not first.needs_data
    noted = decided(where(1, {**WELL, "since_ms": NOW_MS} | {"well_ms": NOW_MS}, increment=1))
    assert noted is None, "the joiner has not told what happened until it was well"
    found = where(1, WELL, increment=1, watermark_ms=NOW_MS + 1)
    second = decided(found)
    assert second is not None
    assert ([item.instance for item in second.commands], second.needs_data) == (["i2"], True)


@pytest.mark.parametrize(
    ("increment", "patched", "kind"), [(0, 1, Kind.INCREMENT), (1, 2, Kind.PASS)]
)
def test_a_share_is_held_from_when_its_last_instance_was_well(
    increment: int, patched: int, kind: Kind
) -> None:
    """By the watermark; then it is passed, if every guardrail has its data."""
    found = where(patched, WELL, increment=increment)
    assert decided(replace(found, watermark_ms=NOW_MS + 59_999)) is None
    move = decided(replace(found, watermark_ms=NOW_MS + 60_000))
    assert move is not None
    assert (move.kind, move.verdict, move.needs_data) == (kind, Verdict.PASS, True)
    assert f"of the instances ({patched} of 5 instances) held for" in move.reason


def test_a_patched_instance_that_is_silent_is_not_made_up_for() -> None:
    """Nobody else is patched in its place and the share is not passed; in the end it goes back."""
    settings = Canary.model_validate({"weight": "20%", "hold": "60s", "rolling": {"instances": 4}})
    found = where(1, WELL, settings=settings, watermark_ms=NOW_MS + 70_000)
    silent = replace(found.fleet[0], live=False)
    waiting = replace(found, fleet=(silent, *found.fleet[1:]))
    move = decided(replace(waiting, memo={}))
    assert move is None
    gone = replace(waiting, memo={}, now_ms=NOW_MS + 120_000)
    back = decided(gone)
    assert back is not None
    assert back.kind is Kind.ROLL_BACK


def test_fewer_shares_in_a_changed_manifest_end_with_the_last() -> None:
    """A step that was at its second share goes on, though there is only one now."""
    settings = Canary.model_validate({"weight": "20%", "hold": "1s", "rolling": {}})
    move = decided(where(2, WELL, increment=1, settings=settings, watermark_ms=NOW_MS + 1_000))
    assert move is not None
    assert move.kind is Kind.PASS
    assert STRATEGY.outlook(where(2, WELL, settings=settings)).progress.startswith(
        "patched 2 of 5 instances"
    )


# -- whole releases


def begin() -> tuple[World, Site]:
    """A canary of instances, then the others."""
    world = World()
    guardrail = {**ERRORS, "worse_by": "5pp"}
    world.apply({"canary": CANARY}, ROLLING, guardrails=[guardrail])
    return world, Site(world, *NAMES)


def serve(world: World, failed: int) -> None:
    """Users of all instances, a tenth of whom met a patched one, by the newest table."""
    table = world.tables()[-1].version
    patched = Group("challenger", 4_000, failed, reason="INSTANCE", version=table, propensity=1.0)
    world.observe(Group("champion", 8_000, 80, version=table, propensity=1.0), patched)


def counted(site: Site) -> int:
    """Instances that run the new version."""
    return sum(found == ["v2"] for found in site.versions().values())


def test_the_good_end() -> None:
    """One instance, two, then all; no user is sent anywhere by the table until all have it."""
    world, site = begin()
    seen = []
    for _ in range(12):
        site.run(6)
        seen.append(counted(site))
        serve(world, 40)
    assert sorted(set(seen)) == [1, 2, 5]
    assert (world.last().phase, world.last().action) == ("COMPLETED", "FINISH")
    assert world.last().weights == {"champion": 0, "challenger": 10_000}
    told = [each for each in said(world) if "of the instances" in each]
    assert ["1 of 5" in told[0], "2 of 5" in told[1]] == [True, True]


def test_no_data_is_no_success() -> None:
    """However long the share is held."""
    world, site = begin()
    site.run(60)
    assert (world.last().action, world.last().verdict) == ("HOLD", "NO_DATA")
    assert counted(site) == 1


def test_a_breach_takes_the_patched_ones_back() -> None:
    """Users of patched instances fail: rolled back, and the old version runs everywhere."""
    world, site = begin()
    site.run(6)
    serve(world, 40)
    site.run(6)
    serve(world, 1_000)
    assert world.last().action == "ROLLBACK"
    site.run(30)
    assert set(map(tuple, site.versions().values())) == {("v1",)}
    assert "is well on 5 of 5 instances again" in world.last().reason


def test_what_the_canary_patched_goes_back_from_the_step_behind_it_too() -> None:
    """The next step did not give that command, and undoes it all the same."""
    world, site = begin()
    while world.state.step == 0:
        site.run(6)
        serve(world, 40)
    world.order("ROLLBACK")
    site.run(30)
    assert set(map(tuple, site.versions().values())) == {("v1",)}


def test_another_form_is_another_step() -> None:
    """A manifest that turns shares of instances into shares of requests opens a generation."""
    world, site = begin()
    site.run(3)
    plain = {name: value for name, value in CANARY.items() if name != "rolling"}
    spec = spec_of({"canary": plain}, ROLLING, guardrails=[{**ERRORS, "worse_by": "5pp"}])
    world.order("APPLY", spec, parent=world.state.spec.digest())
    assert world.last().generation == 2
    assert "the running step is another one" in world.last().reason
