"""Recorded breaks: a fact keeps its bytes, and what is none is not taken for one."""

from __future__ import annotations

import json

import pytest

from tidegate.schemas.breaks import Break, decode_break, follow, gaps_of
from tidegate.schemas.marks import marker_headers, read_mark

LOST = Break("outcomes", 2, 50, 120, "retention was an hour", "ada", 1_700_000_000_000, ((7, 3),))


def test_a_break_is_read_as_it_was_written() -> None:
    """Every field, and the key that names its place."""
    assert decode_break(LOST.key, LOST.encode()) == LOST


@pytest.mark.parametrize(
    "change",
    [{"end": 50}, {"begin": -1}, {"begin": "x"}, {"told": [1]}, {"topic": "predictions"}],
    ids=str,
)
def test_what_is_no_break_is_none(change: dict[str, object]) -> None:
    """A range that is empty or backward, or a value that does not belong to its key."""
    value = json.dumps({**json.loads(LOST.encode()), **change}).encode()
    assert decode_break(LOST.key, value) is None
    assert decode_break(LOST.key, None) is None
    assert decode_break(LOST.key, b"[" * 10_000) is None


def test_a_log_has_only_its_own_breaks() -> None:
    """By topic and partition; where one ends another may begin."""
    more = Break("outcomes", 2, 120, 121, "", "", 0)
    elsewhere = Break("outcomes", 1, 7, 9, "", "", 0)
    gaps = gaps_of([LOST, more, elsewhere], "outcomes", 2)
    assert sorted(gaps) == [50, 120]
    assert follow(gaps, 50) == 121
    assert follow(gaps, 51) == 51


def test_no_record_of_a_log_can_pass_for_a_skip() -> None:
    """Services may write markers into their topics; none of them has records passed over."""
    assert read_mark(marker_headers(LOST.marker())) is None
