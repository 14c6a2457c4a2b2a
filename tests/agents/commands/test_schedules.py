"""Local times into UTC: by the calendar of the zone, no freeze too short."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.streams.deciding.world import CANARY, spec_of
from tidegate.agents.commands.lint import load
from tidegate.agents.commands.schedules import HORIZON_DAYS, check_time_zone, resolved, with_utc
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.manifest import ExperimentSpec
from tidegate.schemas.manifest.schedule import Schedule
from tidegate.streams.wording import utc

DAY_MS = 86_400_000
WEEKEND = {"weekly": "fri 16:00 - mon 08:00"}


def at(text: str) -> int:
    """A UTC time in ms."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


NOW_MS = at("2026-11-25 12:00")


def of(zone: str = "Europe/Berlin", now_ms: int = NOW_MS, **written: Any) -> Schedule:
    """A schedule worked out at `now_ms`, by default on a Wednesday."""
    return resolved(Schedule.model_validate({"time_zone": zone, **written}), now_ms)


@pytest.mark.parametrize(
    ("zone", "local", "expected"),
    [
        ("UTC", "2026-12-01 09:00", "2026-12-01 09:00"),
        ("Europe/Berlin", "2026-12-01 09:00", "2026-12-01 08:00"),
        ("Europe/Berlin", "2026-07-01 09:00", "2026-07-01 07:00"),
        ("Asia/Kathmandu", "2026-12-01 09:00", "2026-12-01 03:15"),
        ("America/New_York", "2026-12-31 23:30", "2027-01-01 04:30"),
        # Skipped and repeated hours: the later of what it may mean.
        ("Europe/Berlin", "2027-03-28 02:30", "2027-03-28 01:30"),
        ("Europe/Berlin", "2026-10-25 02:30", "2026-10-25 01:30"),
    ],
)
def test_a_start_is_by_the_clock_of_its_zone(zone: str, local: str, expected: str) -> None:
    """Summer time, quarters of an hour, other days, hours that are not or are twice."""
    assert of(zone, start=local).start_ms == at(expected)


def test_a_freeze_is_never_shorter_than_meant() -> None:
    """From the earlier meaning of a repeated hour to the later one."""
    found = of(freeze=[{"from": "2026-10-25 02:30", "to": "2026-10-25 02:31"}])
    assert found.frozen == ((at("2026-10-25 00:30"), at("2026-10-25 01:31")),)


def test_weekly_windows_follow_the_clock_over_the_change() -> None:
    """Eight o'clock stays eight o'clock when summer begins; the running one is among them."""
    found = of(now_ms=at("2027-03-27 12:00"), freeze=[WEEKEND])
    assert found.frozen is not None
    assert (at("2027-03-26 15:00"), at("2027-03-29 06:00")) in found.frozen
    assert (at("2027-04-02 14:00"), at("2027-04-05 06:00")) in found.frozen
    assert found.known_until_ms is not None
    reach = (found.known_until_ms - at("2027-03-27 00:00")) / DAY_MS
    assert HORIZON_DAYS - 1 < reach < HORIZON_DAYS + 1
    assert found.frozen[-1][1] > found.known_until_ms - 7 * DAY_MS


def test_windows_that_touch_are_one() -> None:
    """Intervals are ascending and apart."""
    found = of("UTC", freeze=[
        {"from": "2026-12-24 00:00", "to": "2026-12-27 00:00"},
        {"from": "2026-12-27 00:00", "to": "2026-12-28 00:00"},
        {"weekly": "thu 12:00 - thu 13:00"},
    ])  # fmt: skip
    assert found.frozen is not None
    assert (at("2026-12-24 00:00"), at("2026-12-28 00:00")) in found.frozen
    assert all(first[1] < second[0] for first, second in pairwise(found.frozen))


@pytest.mark.parametrize("weekly", ["mon 00:00 - sun 23:59", "sat 10:00 - sat 09:00"])
def test_a_window_may_last_nearly_a_week(weekly: str) -> None:
    """Also one that ends on its own day of the week, earlier."""
    found = of("UTC", freeze=[{"weekly": weekly}]).frozen
    assert found is not None
    assert 6 * DAY_MS < found[3][1] - found[3][0] < 7 * DAY_MS


def spec(**written: Any) -> ExperimentSpec:
    """An experiment with a schedule as written."""
    return spec_of({"canary": CANARY}, schedule={"time_zone": "Europe/Berlin", **written})


def test_the_same_manifest_stays_the_same() -> None:
    """Applied again it changes nothing, until what was worked out reaches 100 days only."""
    first = with_utc(spec(freeze=[WEEKEND]), None, NOW_MS)
    assert with_utc(spec(freeze=[WEEKEND]), first, NOW_MS + 299 * DAY_MS) == first
    assert with_utc(spec(freeze=[WEEKEND]), first, NOW_MS + 301 * DAY_MS) != first
    other = with_utc(spec(start="2026-12-01 09:00"), first, NOW_MS)
    assert other.schedule is not None
    assert other.schedule.frozen == ()
    assert ExperimentSpec.from_json(other.to_json()) == other


def test_time_zones_are_known_by_name(tmp_path: Path) -> None:
    """A misspelt one is told with its line, by lint already."""
    assert check_time_zone("Europe/Berlin") == ""
    path = tmp_path / "f.yaml"
    path.write_text("""\
apiVersion: tidegate.dev/v1
kind: Experiment
metadata: {name: a}
spec:
  unit: {key: user}
  control: a
  variants: {a: {model: m, version: "1"}, b: {model: m, version: "2"}}
  schedule:
    time_zone: Europe/Berlim
  release: [{canary: {weight: 5%, hold: 1h}}]
""")
    with pytest.raises(DefinitionError) as caught:
        load(path)
    assert caught.value.faults == (
        f"{path}:9: spec.schedule.time_zone: Europe/Berlim is not a time zone;"
        " did you mean Europe/Berlin?",
    )


def test_times_are_said_as_calendars_do() -> None:
    """The sentence of a decision has the day that a calendar has, leap years included."""
    for days in (0, 58, 59, 60, 789, 11_016, 11_017, 19_782, 20_000, 47_541):
        ms = days * DAY_MS + 3_660_000
        said = datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")
        assert utc(ms) == said
