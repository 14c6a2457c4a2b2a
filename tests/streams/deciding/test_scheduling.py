"""Schedules decided: before the start and in a freeze nothing moves by itself."""

from __future__ import annotations

from typing import Any

from tests.streams.deciding.world import CANARY, START_MS, Group, World, spec_of
from tidegate.schemas.manifest.schedule import Schedule
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.routing import weights_of

FULL = {"full": {"keep_previous": "60s"}}
HOUR_MS = 3_600_000


def spec_with(**resolved: Any) -> ExperimentSpec:
    """A canary with a schedule as `apply` worked it out."""
    schedule = Schedule().model_copy(update={"frozen": (), **resolved})
    return spec_of({"canary": CANARY}, FULL).model_copy(update={"schedule": schedule})


def starting(after_ms: int) -> ExperimentSpec:
    """A release that starts so long after the log's beginning."""
    return spec_with(start="2023-11-14 23:00", start_ms=START_MS + after_ms)


def begun(spec: ExperimentSpec) -> World:
    """The release as it was applied."""
    world = World()
    world.order("APPLY", spec)
    return world


def pass_share(world: World) -> None:
    """Sound requests, for as long as a share is held."""
    world.observe(Group("champion", 400), Group("challenger", 400))
    world.tick(60_000)
    world.observe()


def test_before_its_start_a_release_is_all_control() -> None:
    """It begins by log time, with the first share, and its hold counts from there."""
    world = begun(starting(HOUR_MS))
    assert weights_of(world.tables()[-1])["champion"] == 10_000
    assert world.view()["progress"] == "starts 2023-11-14 23:13 UTC"
    world.tick(HOUR_MS - 1_000)
    world.observe()
    assert world.actions() == ["APPLY"]
    world.tick(1_000)
    world.observe()
    assert world.actions() == ["APPLY", "ADVANCE"]
    assert weights_of(world.tables()[-1])["challenger"] == 1_000
    assert "its start, 2023-11-14 23:13 UTC, has come" in world.last().reason
    pass_share(world)
    assert world.last().step == 0
    assert weights_of(world.tables()[-1])["challenger"] == 3_000


def test_people_need_no_schedule() -> None:
    """Who promotes before the start means it; who pauses and resumes starts nothing."""
    world = begun(starting(HOUR_MS))
    world.order("PAUSE")
    world.order("RESUME")
    assert weights_of(world.tables()[-1])["champion"] == 10_000
    world.order("PROMOTE")
    assert weights_of(world.tables()[-1])["challenger"] == 10_000
    world.tick(2 * HOUR_MS)
    world.observe()
    assert weights_of(world.tables()[-1])["challenger"] == 10_000


def test_another_start_may_be_written_while_it_waits() -> None:
    """An amended start is the one that counts; no generation opens."""
    world = begun(starting(HOUR_MS))
    world.order("APPLY", starting(60_000), parent=starting(HOUR_MS).digest())
    assert world.last().generation == 1
    world.tick(60_000)
    world.observe()
    assert weights_of(world.tables()[-1])["challenger"] == 1_000


def frozen_from_60_s_on() -> World:
    """A canary that may grow when it is frozen."""
    return begun(spec_with(frozen=((START_MS + 30_000, START_MS + HOUR_MS),)))


def test_in_a_freeze_the_next_share_waits_and_says_until_when() -> None:
    """Once, with what would have been; afterwards it goes on."""
    world = frozen_from_60_s_on()
    pass_share(world)
    pass_share(world)
    assert world.actions() == ["APPLY", "HOLD"]
    assert world.last().reason.startswith(
        "frozen until 2023-11-14 23:13 UTC; then: canary 10 % held for 1:00 min"
    )
    assert world.view()["progress"] == "frozen until 2023-11-14 23:13 UTC"
    world.tick(HOUR_MS)
    world.observe()
    assert world.last().action == "ADVANCE"


def test_a_freeze_stops_no_rollback() -> None:
    """What hurts is taken back whenever it hurts."""
    world = frozen_from_60_s_on()
    world.tick(60_000)
    world.observe(Group("champion", 400, 4), Group("challenger", 400, 100))
    assert (world.last().action, world.last().phase) == ("ROLLBACK", "ROLLED_BACK")


def test_a_freeze_stops_no_person() -> None:
    """An order is not automatic progress."""
    world = frozen_from_60_s_on()
    world.tick(60_000)
    world.order("PROMOTE")
    assert world.last().action == "PROMOTE"


def test_a_start_in_a_freeze_waits_for_its_end() -> None:
    """Beginning is moving."""
    frozen = ((START_MS + 1_000, START_MS + HOUR_MS),)
    spec = spec_with(start="2023-11-14 23:00", start_ms=START_MS + 2_000, frozen=frozen)
    world = begun(spec)
    world.tick(60_000)
    world.observe()
    assert world.actions() == ["APPLY", "HOLD"]
    world.tick(HOUR_MS)
    world.observe()
    assert weights_of(world.tables()[-1])["challenger"] == 1_000


def test_beyond_what_was_worked_out_nothing_moves_by_itself() -> None:
    """Not knowing whether it is a weekend is no permission."""
    world = begun(spec_with(known_until_ms=START_MS + 30_000))
    pass_share(world)
    assert world.last().action == "HOLD"
    assert "apply the manifest again; then: canary" in world.last().reason


def test_a_decider_goes_on_waiting_after_a_restart() -> None:
    """That it waits is in the dump."""
    world = begun(starting(HOUR_MS))
    state = world.decider.dump()
    world.decider = world.fresh()
    world.decider.load(state)
    world.tick(HOUR_MS)
    world.observe()
    assert weights_of(world.tables()[-1])["challenger"] == 1_000
