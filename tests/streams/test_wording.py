"""Decisions read the same for people everywhere."""

from __future__ import annotations

import pytest

from tidegate.streams import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (88.0, "88"),
        (1.5, "1.5"),
        (123456.0, "123,456"),
        (0.00012, "0.00012"),
        (-2.0, "-2"),
    ],
)
def test_numbers_are_never_scientific(value: float, text: str) -> None:
    """People compare decimals."""
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.041, "4.1 %"), (0.0, "0.0 %"), (0.00003, "0.003 %"), (1.0, "100.0 %")]
)
def test_a_small_share_does_not_read_as_none(share: float, text: str) -> None:
    """0.0 % is said of nothing at all only."""
    assert wording.percent(share) == text


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.031, "+3.1 pp"), (-0.0003, "-0.03 pp"), (0.00001, "+0.001 pp"), (0.0, "+0.0 pp")],
)
def test_differences_carry_their_sign(difference: float, text: str) -> None:
    """Better and worse are told apart by the sign."""
    assert wording.points(difference) == text


@pytest.mark.parametrize(
    ("span_ms", "text"),
    [
        (0, "0 s"),
        (250, "250 ms"),
        (59_000, "59 s"),
        (90_000, "1:30 min"),
        (3_600_000, "1:00 h"),
        (86_400_000, "1 d"),
        (-5, "0 s"),
    ],
)
def test_spans_name_their_unit(span_ms: int, text: str) -> None:
    """1:30 alone could be minutes or hours."""
    assert wording.duration(span_ms) == text


def test_listing_reads_as_a_sentence() -> None:
    """One, two, many, none."""
    assert [wording.listing(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_large_differences_have_no_decimals() -> None:
    """Digits that say nothing are left out."""
    assert wording.signed(12345.6) == "+12,346"
