"""Full: the winner gets everything; the previous variant is kept loaded for a while.

Until `keep_previous` of watermarked time is over a rollback is one table away from where the
traffic was; then the release has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.schemas.manifest.steps import Full
from tidegate.streams.strategies.base import (
    ALL_BP,
    Kind,
    Move,
    Outlook,
    Shares,
    Standing,
    Strategy,
    Verdict,
)
from tidegate.streams.wording import duration


def start(
    settings: Full, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """Everything to the winner; to control when it has been taken away."""
    chosen = winner if winner in candidates else control
    return Shares({chosen: ALL_BP})


def decide(standing: Standing) -> Move | None:
    """Ends the release when the previous variant need not be kept any longer."""
    settings: Full = standing.settings
    if standing.held_ms < settings.keep_previous_ms:
        return None
    reason = f"served everybody for {duration(standing.held_ms)}; the release has ended"
    return Move(Kind.FINISH, Verdict.PASS, reason)


def outlook(standing: Standing) -> Outlook:
    """How long the previous variant is still kept."""
    settings: Full = standing.settings
    keep = duration(settings.keep_previous_ms)
    return Outlook(f"kept {duration(standing.held_ms)} of {keep}", f"{keep} are over")


STRATEGY = Strategy("full", Full, True, start, decide, outlook)
