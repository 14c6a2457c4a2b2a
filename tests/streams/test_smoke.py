"""Answers of smoke tests: what counts as expected, and how a difference is said."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.streams.smoke import difference


@pytest.mark.parametrize(
    ("expected", "found", "tolerance"),
    [
        (1, 1.0, 0.0),
        (0.5, 0.59, 0.1),
        ("cat", "cat", 0.0),
        (True, True, 0.0),
        ({"score": 0.5}, {"score": 0.5, "more": "than expected"}, 0.0),
        ([1, {"a": [2]}], [1, {"a": [2.05]}], 0.1),
        ({}, {}, 0.0),
    ],
)
def test_what_was_expected(expected: Any, found: Any, tolerance: float) -> None:
    """Equal values, numbers within the tolerance, and maps that say more."""
    assert difference(expected, found, tolerance) == ""


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        (0.5, 0.7, "answer is 0.7, expected 0.5"),
        (1, True, "answer is True, expected 1"),
        (True, 1, "answer is 1, expected True"),
        (1.0, float("nan"), "answer is nan, expected 1.0"),
        ("1", 1, "answer is 1, expected '1'"),
        ({"a": 1}, {"b": 1}, "answer.a is missing"),
        ({"a": 1}, [1], "answer is [1], expected a map"),
        ([1, 2], [1], "answer is [1], expected 2 items"),
        ([1], "x", "answer is 'x', expected 1 items"),
        ({"b": 2, "a": {"c": [1, 2]}}, {"a": {"c": [1, 5]}}, "answer.a.c[1] is 5, expected 2"),
    ],
)
def test_the_first_difference_is_named(expected: Any, found: Any, said: str) -> None:
    """Where it is, what came, what was expected; NaN equals nothing."""
    assert difference(expected, found, 0.1) == said


def test_long_answers_are_cut() -> None:
    """A sentence stays one."""
    assert len(difference("x", "y" * 10_000)) < 200


def test_numbers_too_large_for_a_float_differ() -> None:
    """A model server may answer with hundreds of digits: that is another answer, and no crash."""
    assert difference({"n": 1.5}, {"n": 10**400}).startswith("answer.n is 1000")
    assert difference({"n": 10**400}, {"n": 10**400}) == ""
