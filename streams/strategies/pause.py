"""Pause: nothing moves for a while, or until a person resumes.

Shares stay as the step before left them, guardrails go on watching. Time is watermarked: while a
joiner is down it does not pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.schemas.manifest.steps import Pause
from tidegate.streams.strategies.base import Kind, Move, Outlook, Standing, Strategy, Verdict
from tidegate.streams.wording import duration


def start(
    settings: Pause, control: str, candidates: Sequence[str], winner: str, increment: int
) -> None:
    """The shares stay."""


def decide(standing: Standing) -> Move | None:
    """Passes when the time is over; without a time it waits for a person."""
    settings: Pause = standing.settings
    if settings.duration_ms is None:
        return Move(Kind.WAIT, reason="the release pauses here until somebody resumes it")
    if standing.held_ms < settings.duration_ms:
        return None
    reason = f"paused for {duration(standing.held_ms)}, no guardrail failed"
    return Move(Kind.PASS, Verdict.PASS, reason)


def outlook(standing: Standing) -> Outlook:
    """How long it still takes, or that somebody must resume."""
    settings: Pause = standing.settings
    if settings.duration_ms is None:
        return Outlook("waiting for a person", "somebody resumes")
    whole = duration(settings.duration_ms)
    return Outlook(
        f"paused {duration(standing.held_ms)} of {whole}", f"{whole} are over, no guardrail fails"
    )


STRATEGY = Strategy("pause", Pause, True, start, decide, outlook, keeps=True)
