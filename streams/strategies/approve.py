"""Approve: nothing moves until people in the named roles have approved.

Shares stay as the step before left them, guardrails go on watching. An approval is an order for
this generation and step (`streams/deciding/rights.py`); no evidence stands in for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.schemas.manifest.steps import Approve
from tidegate.streams.strategies.base import Kind, Move, Outlook, Standing, Strategy
from tidegate.streams.wording import alternatives


def start(
    settings: Approve, control: str, candidates: Sequence[str], winner: str, increment: int
) -> None:
    """The shares stay."""


def decide(standing: Standing) -> Move | None:
    """Waits for people."""
    return Move(Kind.WAIT, reason=f"the release waits for {awaited(standing.settings)}")


def outlook(standing: Standing) -> Outlook:
    """Who is waited for."""
    return Outlook(f"waiting for {awaited(standing.settings)}", "it is approved")


def awaited(settings: Approve) -> str:
    """Whose approval a step needs.

    >>> awaited(Approve(by=("owner", "security"), approvals=2))
    'approval by 2 people as owner or security'
    """
    who = alternatives(settings.by)
    if settings.approvals == 1:
        return f"approval by {who}"
    return f"approval by {settings.approvals} people as {who}"


STRATEGY = Strategy("approve", Approve, True, start, decide, outlook, keeps=True)
