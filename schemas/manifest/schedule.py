"""When a release starts, and when nothing moves by itself.

A manifest writes local times of one time zone. `apply` turns them into UTC once and keeps both, so
that the decider needs no calendar and decides the same in every replay.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict, ValidationInfo, WithJsonSchema, model_validator

from tidegate.schemas.limits import TIME_MS_MAX
from tidegate.schemas.manifest.types import Model, Text
from tidegate.schemas.topics import DAY_MS

LOCAL_TIME = r"^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d)$"
WEEKLY = (
    r"^(mon|tue|wed|thu|fri|sat|sun) (\d\d):(\d\d) - (mon|tue|wed|thu|fri|sat|sun) (\d\d):(\d\d)$"
)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def local_parts(text: str) -> tuple[int, int, int, int, int]:
    """Year, month, day, hour and minute of a local time.

    Raises:
        ValueError: it is none; the text says what to write.

    >>> local_parts("2026-12-01 09:00")
    (2026, 12, 1, 9, 0)
    """
    found = re.fullmatch(LOCAL_TIME, text, re.ASCII)
    if found is None:
        raise ValueError(f'{text} is not a local time; write "2026-12-01 09:00"')
    year, month, day, hour, minute = map(int, found.groups())
    if not 1 <= month <= len(_MONTH_DAYS) or not 1 <= day <= _days(year, month) or year < 1970:
        raise ValueError(f"there is no {text[:10]}; write a day of the calendar")
    _check_clock(text, hour, minute)
    return year, month, day, hour, minute


def weekly_parts(text: str) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """(Day of the week from Monday = 0, hour, minute) at which a weekly window begins and ends.

    Raises:
        ValueError: it is none; the text says what to write.

    >>> weekly_parts("fri 16:00 - mon 08:00")
    ((4, 16, 0), (0, 8, 0))
    """
    found = re.fullmatch(WEEKLY, text, re.ASCII)
    if found is None:
        raise ValueError(f'{text} is not a weekly window; write "fri 16:00 - mon 08:00"')
    edges = [
        (DAYS.index(found[place]), int(found[place + 1]), int(found[place + 2])) for place in (1, 4)
    ]
    for _, hour, minute in edges:
        _check_clock(text, hour, minute)
    if edges[0] == edges[1]:
        raise ValueError(f"{text} is empty or for ever; write when it ends")
    return edges[0], edges[1]


def _days(year: int, month: int) -> int:
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _MONTH_DAYS[month - 1] + (month == 2 and is_leap)


def _check_clock(text: str, hour: int, minute: int) -> None:
    if hour > 23 or minute > 59:
        raise ValueError(f"{text} has a time of day that no clock shows; write 00:00 to 23:59")


def _checked(parse: Any) -> BeforeValidator:
    def validate(value: Any) -> Any:
        if isinstance(value, str):
            parse(value)
        return value

    return BeforeValidator(validate)


def _derived(value: Any, info: ValidationInfo) -> Any:
    if info.mode != "json":
        raise ValueError("apply works it out from what is written; remove it")
    return value


DERIVED = (BeforeValidator(_derived), WithJsonSchema({"not": {}}))
"""Marks what `apply` writes into a spec and no manifest may hold."""
LocalTime = Annotated[
    str,
    _checked(local_parts),
    WithJsonSchema({"type": "string", "pattern": LOCAL_TIME, "examples": ["2026-12-01 09:00"]}),
]
Weekly = Annotated[
    str,
    _checked(weekly_parts),
    WithJsonSchema({"type": "string", "pattern": WEEKLY, "examples": ["fri 16:00 - mon 08:00"]}),
]
TimeMs = Annotated[int, Field(ge=-DAY_MS, le=TIME_MS_MAX)]
"""ms since 1970, which has not begun yet in some time zones."""
Interval = Annotated[tuple[TimeMs, TimeMs], Strict(False)]


class Freeze(Model):
    """A time in which nothing moves by itself: once, `begins` to `ends`, or `weekly`."""

    begins: Annotated[LocalTime | None, Field(alias="from")] = None
    ends: Annotated[LocalTime | None, Field(alias="to")] = None
    weekly: Weekly | None = None

    @model_validator(mode="after")
    def _is_one_window(self) -> Freeze:
        once = (self.begins is not None, self.ends is not None)
        if once not in ((True, True), (False, False)) or once[0] == (self.weekly is not None):
            raise ValueError(
                "a freeze is either once or weekly; write {from: ..., to: ...} or {weekly: ...}"
            )
        if self.begins is None or self.ends is None:
            return self
        if local_parts(self.ends) <= local_parts(self.begins):
            raise ValueError(f"{self.ends} is not after {self.begins}; write a later end")
        return self


class Schedule(Model):
    """When a release starts and when it is frozen, as written and as UTC.

    `start_ms`, `frozen` (half-open intervals, ms UTC, ascending, apart) and `known_until_ms` are
    what `apply` has made of it; weekly windows are worked out until `known_until_ms`, and after
    that nothing moves by itself until someone applies the manifest again.
    """

    time_zone: Text = "UTC"
    start: LocalTime | None = None
    freeze: Annotated[tuple[Freeze, ...], Strict(False), Field(max_length=50)] = ()
    start_ms: Annotated[TimeMs | None, *DERIVED] = None
    frozen: Annotated[tuple[Interval, ...] | None, Strict(False), *DERIVED] = None
    known_until_ms: Annotated[TimeMs | None, *DERIVED] = None

    @property
    def written(self) -> tuple[str, str | None, tuple[Freeze, ...]]:
        """What a person wrote."""
        return self.time_zone, self.start, self.freeze

    @property
    def is_resolved(self) -> bool:
        """Whether the written times stand in UTC beside."""
        return self.frozen is not None and (self.start is None) == (self.start_ms is None)
