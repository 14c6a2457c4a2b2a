"""Canary, rolling form: a share of the instances gets the new version in place of the old.

Patched instances of the same cluster serve their users with it, and are compared with the others
for as long as the share is held. The table stays with control, since who gets which is decided by
the instance. What follows is a larger share, or the step `rolling`, which patches the others: both
go on from what runs. The way back is that of `rolling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tidegate.schemas.manifest.deployments import Patching, Rolling
from tidegate.schemas.manifest.steps import Canary
from tidegate.schemas.manifest.types import Batch
from tidegate.streams.strategies import rolling
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
from tidegate.streams.strategies.deploying import (
    roll_back,
    seen,
    share_of,
    too_few,
    version_of,
)
from tidegate.streams.strategies.instances import Instance, live, runs
from tidegate.streams.wording import basis_points, duration


def start(
    settings: Canary, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """Control: the instances decide who gets which."""
    return Shares({control: ALL_BP})


def decide(standing: Standing) -> Move | None:
    """The next instance of the share; the next share when this one was held; or the way back."""
    like, memo = _as_rolling(standing), standing.memo
    found = rolling.trouble(like)
    if found:
        return roll_back(standing, f"{found}: back to {version_of(standing, standing.control)}")
    there, patched = live(standing.fleet), _patched(standing)
    if rolling.unfinished(like, patched):
        return None
    if memo and "well_ms" not in memo:
        return Move(Kind.CHECKED, memo={**memo, "well_ms": standing.now_ms})
    if len(there) < like.settings.instances:
        return too_few(standing, like.settings.instances)
    return _go_on(standing, patched)


def back(standing: Standing) -> Move | None:
    """The old version takes the new one's place again."""
    return rolling.back(_as_rolling(standing))


def outlook(standing: Standing) -> Outlook:
    """How many are patched, and for how long."""
    settings: Canary = standing.settings
    patched = share_of(_patched(standing), live(standing.fleet))
    return Outlook(
        f"patched {patched}, held {duration(_held_ms(standing))} of {duration(settings.hold_ms)}",
        f"{_wanted(standing)} are patched and well, {duration(settings.hold_ms)} are held"
        " and no guardrail fails",
    )


def _go_on(standing: Standing, patched: Sequence[Instance]) -> Move | None:
    # What the joiner has not told yet may hold a breach.
    if standing.memo and standing.watermark_ms <= standing.memo["well_ms"]:
        return None
    # Who has fallen silent counts: nobody else is patched for it.
    touched = runs(standing.fleet, standing.artifact(standing.newcomer))
    missing = _wanted(standing) - len(touched)
    if missing > 0:
        left = [item for item in standing.fleet if item not in touched]
        return rolling.next_batch(_as_rolling(standing), patched, left, missing)
    return _held(standing, patched) if len(patched) == len(touched) else None


def _held(standing: Standing, patched: Sequence[Instance]) -> Move | None:
    settings: Canary = standing.settings
    held_ms = _held_ms(standing)
    if held_ms < settings.hold_ms:
        return None
    share = basis_points(_share_bp(standing))
    reason = f"canary {share} of the instances ({share_of(patched, standing.fleet)})"
    reason += f" held for {duration(held_ms)}, no guardrail failed"
    is_last = standing.increment >= len(settings.shares_bp) - 1
    # The table gives the new version nothing, and users have met it all the same.
    return Move(
        Kind.PASS if is_last else Kind.INCREMENT,
        Verdict.PASS,
        reason,
        evidence=seen(standing),
        needs_data=True,
    )


def _held_ms(standing: Standing) -> int:
    """Watermarked time since the last instance of the share was well."""
    since_ms: int = standing.memo.get("well_ms", standing.since_ms)
    return max(0, standing.watermark_ms - since_ms)


def _share_bp(standing: Standing) -> int:
    """A manifest that was changed meanwhile may have fewer shares: its last one counts."""
    settings: Canary = standing.settings
    shares_bp = settings.shares_bp
    return min(shares_bp[min(standing.increment, len(shares_bp) - 1)], settings.cap_bp)


def _wanted(standing: Standing) -> int:
    """How many instances the share is: one at least, and half of them at most."""
    known = len(standing.fleet)
    return min(max(1, known * _share_bp(standing) // ALL_BP), known // 2)


def _patched(standing: Standing) -> list[Instance]:
    return [
        item
        for item in live(standing.fleet)
        if rolling.has_only(standing, item, standing.newcomer)
    ]


def _as_rolling(standing: Standing) -> Standing:
    """The same for the functions of `rolling`, which take one instance after the other."""
    patching: Patching = standing.settings.rolling
    return replace(
        standing,
        settings=Rolling.model_construct(
            batch=Batch(kind="count", value=patching.max_unavailable),
            max_unavailable=patching.max_unavailable,
            health_timeout_ms=patching.health_timeout_ms,
            instances=patching.instances,
        ),
    )


STRATEGY = Strategy("canary", Canary, True, start, decide, outlook, back=back)
