"""Makes a failing schedule short: delta debugging of its events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.playing import Result, run
from tests.simulation.schedule import Event, Schedule

TRIES_MAX = 600


def shrink(
    schedule: Schedule, play: Callable[[Schedule], Result] = run, tries: int = TRIES_MAX
) -> Schedule:
    """A schedule whose events are few and that still breaks the same invariant.

    `ddmin` of Zeller and Hildebrandt (2002), complements only: take away ever smaller parts, as
    long as what is left fails alike.
    """
    wanted = play(schedule).violation
    events = list(schedule.events)
    size = max(1, len(events) // 2)
    while tries > 0:
        start, shorter = 0, False
        while start < len(events) and tries > 0:
            left = events[:start] + events[start + size :]
            tries -= 1
            if play(replace(schedule, events=tuple(left))).violation == wanted:
                events, shorter = left, True
            else:
                start += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return replace(schedule, events=tuple(events))


def told(schedule: Schedule) -> str:
    """The events as lines."""
    lines = [f"{number:3d}  {event.name:<12} {event.a:>8} {event.b:>8}"
             for number, event in enumerate(schedule.events)]  # fmt: skip
    return "\n".join([repr(schedule.config), *lines])


def parsed(lines: list[str]) -> tuple[Event, ...]:
    """Events from lines as `told` writes them."""
    found = []
    for line in lines:
        _, name, a, b = line.split()
        found.append(Event(name, int(a), int(b)))
    return tuple(found)
