"""Local times of a schedule into UTC, by the calendar of its time zone: once, at `apply`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.manifest import ExperimentSpec
from tidegate.schemas.manifest.faults import nearest
from tidegate.schemas.manifest.schedule import Freeze, Schedule, local_parts, weekly_parts

HORIZON_DAYS = 400
"""Weekly windows are worked out so far ahead."""
RENEWED_DAYS = 100
"""What runs is kept when it was worked out at least so far: the same manifest stays the same."""

Interval = tuple[int, int]


def check_time_zone(name: str) -> str:
    """What is wrong with the name of a time zone, and what to write; empty when it is one."""
    known = available_timezones()
    if name in known:
        return ""
    near = nearest(name, known)
    remedy = "write one such as Europe/Berlin or UTC" if near is None else f"did you mean {near}?"
    return f"{name} is not a time zone; {remedy}"


def with_utc(spec: ExperimentSpec, before: ExperimentSpec | None, now_ms: int) -> ExperimentSpec:
    """The spec with its schedule worked out; the one in force is kept while it reaches far enough.

    Raises:
        DefinitionError: there is no such time zone.
    """
    schedule = spec.schedule
    if schedule is None:
        return spec
    running = None if before is None else before.schedule
    if running is not None and running.written == schedule.written:
        renewed_ms = now_ms + RENEWED_DAYS * 86_400_000
        if running.known_until_ms is None or running.known_until_ms >= renewed_ms:
            return spec.model_copy(update={"schedule": running})
    return spec.model_copy(update={"schedule": resolved(schedule, now_ms)})


def resolved(schedule: Schedule, now_ms: int) -> Schedule:
    """The schedule with its times in UTC, weekly windows from now on.

    A local time that a change of clocks skips or repeats is taken so that nothing is frozen for a
    shorter time than was meant, and nothing starts earlier.

    Raises:
        DefinitionError: there is no such time zone.
    """
    fault = check_time_zone(schedule.time_zone)
    if fault:
        raise DefinitionError(f"spec.schedule.time_zone: {fault}")
    zone = ZoneInfo(schedule.time_zone)
    today = datetime.fromtimestamp(now_ms / 1_000, zone).date()
    last = today + timedelta(days=HORIZON_DAYS)
    windows = [window for freeze in schedule.freeze for window in _windows(freeze, zone, today)]
    is_weekly = any(freeze.weekly is not None for freeze in schedule.freeze)
    return schedule.model_copy(
        update={
            "start_ms": (None if schedule.start is None else _latest(_local(schedule.start), zone)),
            "frozen": merged(windows),
            "known_until_ms": (
                _latest(datetime(last.year, last.month, last.day), zone)  # noqa: DTZ001 - local
                if is_weekly
                else None
            ),
        }
    )


def merged(windows: list[Interval]) -> tuple[Interval, ...]:
    """The same times as intervals that are ascending and apart.

    >>> merged([(5, 9), (0, 3), (3, 4), (6, 7)])
    ((0, 4), (5, 9))
    """
    found: list[Interval] = []
    for begins, ends in sorted(windows):
        if found and begins <= found[-1][1]:
            found[-1] = (found[-1][0], max(ends, found[-1][1]))
        else:
            found.append((begins, ends))
    return tuple(found)


def _windows(freeze: Freeze, zone: ZoneInfo, today: date) -> Iterator[Interval]:
    if freeze.begins is not None and freeze.ends is not None:
        yield _earliest(_local(freeze.begins), zone), _latest(_local(freeze.ends), zone)
    if freeze.weekly is None:
        return
    first, last = weekly_parts(freeze.weekly)
    # The window that began last week may be running.
    monday = today - timedelta(days=today.weekday() + 7)
    length = (last[0] - first[0]) % 7
    if length == 0 and last[1:] <= first[1:]:
        length = 7
    for week in range((HORIZON_DAYS + 21) // 7):
        day = monday + timedelta(days=7 * week + first[0])
        if (day - today).days > HORIZON_DAYS:
            return
        begins, ends = _at(day, first), _at(day + timedelta(days=length), last)
        yield _earliest(begins, zone), _latest(ends, zone)


def _local(text: str) -> datetime:
    return datetime(*local_parts(text))  # noqa: DTZ001 - a zone's clock, which the caller knows


def _at(day: date, edge: tuple[int, int, int]) -> datetime:
    return datetime(day.year, day.month, day.day, *edge[1:])  # noqa: DTZ001 - as above


def _earliest(local: datetime, zone: ZoneInfo) -> int:
    return min(_instants(local, zone))


def _latest(local: datetime, zone: ZoneInfo) -> int:
    return max(_instants(local, zone))


def _instants(local: datetime, zone: ZoneInfo) -> tuple[int, int]:
    """UTC in ms by the clock before and after a change; equal where there is none (PEP 495)."""
    both = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    first, second = (round(each.timestamp() * 1_000) for each in both)
    return first, second
