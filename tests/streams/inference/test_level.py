"""Levels: one variant's mean as a confidence sequence."""

from __future__ import annotations

import pytest

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.inference import level
from tidegate.streams.inference.confidence_sequence import standard_errors


def test_it_is_the_mean_and_so_many_standard_errors() -> None:
    """The formula written out."""
    got = level.bound(Moments(900, 2.0, 9.0), 0.05, False)
    assert got is not None
    assert got.upper == pytest.approx(2.0 + standard_errors(900.0, 0.05) * 0.1)
    assert got.lower == pytest.approx(2.0 - standard_errors(900.0, 0.05) * 0.1)


def test_without_observations_there_is_none() -> None:
    """Nothing seen, nothing said."""
    assert level.bound(Moments(0, 0.0, 0.0), 0.05, True) is None
