"""The rules of attribution, as a table and one by one."""

from __future__ import annotations

import pytest

from tests.streams.joining.scenario import Scenario
from tidegate.streams.joining.attribution import (
    agreement,
    deadline_ms,
    find_entry,
    in_window,
    is_activated,
    is_from_the_future,
    summarise,
)
from tidegate.streams.joining.layout import ACTIVATION_ENTRY, ENTRY, ENTRY_NAME, SHADOW_ENTRY

# Early tolerance 150 ms, grace 100 ms, reward wait 500 ms. Times in ms; a prediction is served at
# 0 and released at the second column; the outcome occurs at the third, is released at the fourth.
TABLE = """
why                                         released  occurs  seen  becomes
at once                                     0         0       0     counted
before its prediction was served            0         -150    0     counted
too early                                   0         -151    0     late
the last moment of the window               0         499     500   counted
the window is half-open                     0         500     500   late
within the grace for transport              0         10      599   counted
the deadline is behind the grace            0         10      600   late
the deadline runs from the release          300       10      899   counted
a late release does not widen the window    300       500     700   late
remembered as closed                        0         10      60599 late
forgotten                                   0         10      60600 pending
before its prediction was released          200       10      0     counted
waiting as long as it may                   249       10      0     counted
waiting too long                            250       10      0     orphan
early by time and by release                200       -160    0     late
"""


def rows() -> list[tuple[str, int, int, int, str]]:
    """The rows of the table."""
    found = []
    for line in TABLE.strip().splitlines()[1:]:
        why, rest = line[:44].strip(), line[44:].split()
        found.append((why, int(rest[0]), int(rest[1]), int(rest[2]), rest[3]))
    return found


@pytest.mark.parametrize(("why", "released", "occurs", "seen", "becomes"), rows())
def test_what_becomes_of_an_outcome(
    why: str, released: int, occurs: int, seen: int, becomes: str
) -> None:
    """An outcome's class follows from four times alone: the table says which."""
    scenario = Scenario()
    steps = [(released, 0), (seen, 1)] if released <= seen else [(seen, 1), (released, 0)]
    for at_ms, what in steps:
        if at_ms:
            scenario.at(at_ms)
        if what == 0:
            scenario.predict(served_ms=0)
        else:
            scenario.outcome(at_ms=occurs)
    found = {
        kind: scenario.count(f"outcome.{kind}")
        for kind in ("counted", "late", "orphan", "duplicate", "conflict", "pending")
    }
    assert found == {**dict.fromkeys(found, 0), becomes: 1}, why
    assert scenario.count("outcome.input") == 1


def test_log_time_that_stands_still_closes_nothing() -> None:
    """While nobody ticks, served_at decides: a request served long after the last tick waits
    from then on."""
    scenario = Scenario().predict(served_ms=4_000)
    scenario.at(4_599).outcome(at_ms=4_010)
    assert scenario.count("outcome.counted") == 1


def test_deadlines_are_rounded_up() -> None:
    """Rounding gives more time, never less."""
    assert deadline_ms(1_000, 0, 1) == 1_100
    assert deadline_ms(1_000, 0, 100) == 1_100
    assert deadline_ms(0, 1_099, 1) == 1_100


def test_the_window_is_half_open() -> None:
    """-early <= after < wait."""
    assert [in_window(after, 5, 2) for after in range(-3, 7)] == [
        False, True, True, True, True, True, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("event_ms", "log_time_ms", "timestamp_ms", "refused"),
    [
        (1_005, 1_000, 1_000, False),
        (1_006, 1_000, 1_000, True),
        (5_000, 1_000, 4_995, False),
        (5_000, 4_995, 1_000, False),
        (0, 1_000, 1_000, False),
    ],
)
def test_only_both_clocks_make_an_event_come_from_the_future(
    event_ms: int, log_time_ms: int, timestamp_ms: int, refused: bool
) -> None:
    """Log time stands still without ticks; then the record's timestamp is witness. Old is fine."""
    assert is_from_the_future(event_ms, log_time_ms, timestamp_ms, 5) is refused


def test_an_entry_is_found_only_where_one_begins() -> None:
    """Bytes that look like a name inside another entry are no name."""
    name = ENTRY_NAME.pack(7, 9)
    other = ENTRY.pack(1, int.from_bytes(name[:8], "little"), 0.0, 0)
    inside = other[:4] + name + other[16:]
    assert len(inside) == len(other)
    assert find_entry(inside, 0, name) == -1
    assert find_entry(b"xx" + inside + ENTRY.pack(7, 9, 1.0, 0), 2, name) == 2 + len(inside)


def test_labels_agree_only_when_both_are_there() -> None:
    """An absent label (0) neither agrees nor disagrees."""
    assert [agreement(3, 3), agreement(3, 4), agreement(0, 0), agreement(3, 0)] == [1, 0, 2, 2]


def test_a_summary_goes_by_time_of_occurrence() -> None:
    """First and last are by occurrence, the earlier record at equal times; count, sum, min and max
    over all; shadows and activations are no metric."""
    entries = b"".join([
        ENTRY.pack(2, 1, -5.0, 300), ENTRY.pack(1, 1, 4.0, 200), ENTRY.pack(1, 2, -1.5, 100),
        ENTRY.pack(1, 3, 9.0, 100), ENTRY.pack(SHADOW_ENTRY, 1, 8.0, 0),
        ENTRY.pack(ACTIVATION_ENTRY, 1, 8.0, 0),
    ])  # fmt: skip
    assert summarise(entries) == [
        (1, 3, -1.5, 4.0, 11.5, -1.5, 9.0),
        (2, 1, -5.0, -5.0, -5.0, -5.0, -5.0),
    ]
    assert summarise(b"") == []
    assert is_activated(entries)
    assert not is_activated(entries[: 5 * ENTRY.size])
