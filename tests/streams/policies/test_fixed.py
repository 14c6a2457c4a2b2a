"""Fixed split: what was asked for, whatever the evidence."""

from __future__ import annotations

import pytest

from tidegate.schemas.errors import DefinitionError
from tidegate.streams.policies import PolicySettings, fixed


def test_targets_are_given_as_they_are() -> None:
    """Shares that somebody chose are not rounded, floored or moved by evidence."""
    settings = PolicySettings(targets={"a": 9_999, "b": 1})
    got = fixed.allocate((), {"a": 5_000, "b": 5_000}, settings)
    assert (got.weights, got.moved) == ({"a": 9_999, "b": 1}, True)
    assert not fixed.allocate((), got.weights, settings).moved


def test_targets_that_do_not_sum_are_refused() -> None:
    """99 % is a mistake, not a wish."""
    with pytest.raises(DefinitionError):
        fixed.allocate((), {"a": 10_000}, PolicySettings(targets={"a": 9_900}))
