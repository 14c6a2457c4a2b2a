"""The rules of attribution, one by one; cases of whole requests are in `test_truth_table.py`."""

from __future__ import annotations

import pytest

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
