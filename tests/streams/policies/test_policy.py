"""What an operator may leave unsaid."""

from __future__ import annotations

from tidegate.streams.policies import PolicySettings


def test_defaults_leave_room_for_several_arms() -> None:
    """The default floors of ten arms fit into the whole."""
    assert 10 * PolicySettings().floor_bp <= 10_000
