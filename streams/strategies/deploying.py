"""What strategies that command instances have in common: sentences, evidence, simple answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.streams.strategies.base import Kind, Move, Standing, Verdict
from tidegate.streams.strategies.instances import Instance, evidence_of, live, named


def version_of(standing: Standing, variant: str) -> str:
    """A variant as instances know it: model and version."""
    return " ".join(standing.artifact(variant))


def share_of(some: Sequence[Instance], every: Sequence[Instance]) -> str:
    """How many of them.

    >>> share_of([], [])
    '0 of 0 instances'
    """
    return f"{len(some)} of {len(every)} instances"


def why(failed: Sequence[Instance]) -> str:
    """The first that failed, with its own words."""
    first = failed[0]
    return f"{first.name}: {first.detail}" if first.detail else first.name


def seen(standing: Standing, **more: Any) -> dict[str, Any]:
    """The instances as evidence."""
    return {"instances": evidence_of(standing.fleet), **more}


def ended(standing: Standing) -> dict[str, Any]:
    """The memo of a way back that has been gone: when the release ended."""
    return {"ended_ms": standing.memo.get("ended_ms", 0)}


def touched(standing: Standing) -> bool:
    """On the way back: whether instances had been given anything before or since."""
    return bool(standing.memo.get("was") or standing.memo.get("stage"))


def too_few(standing: Standing, needed: int) -> Move:
    """Nobody to deploy to is no success: waiting, said once."""
    there = live(standing.fleet)
    silent = [item for item in standing.fleet if not item.live]
    reason = f"{len(there)} of {needed} instances are live"
    if silent:
        reason += f" ({named(silent)} silent)"
    return Move(Kind.HOLD, Verdict.NO_DATA, f"{reason}: waiting", evidence=seen(standing))


def roll_back(standing: Standing, reason: str, **evidence: Any) -> Move:
    """The new version is taken out; `back` then undoes what was done to the instances."""
    return Move(
        Kind.ROLL_BACK,
        Verdict.FAIL,
        reason,
        winner=standing.newcomer,
        evidence=seen(standing, **evidence),
    )
