"""Canary: candidates together get a small share, or one share after another.

A share is passed when it was held for `hold` of watermarked time and every candidate has
`min_samples` requests routed by it. Guardrails watch meanwhile; too few requests mean waiting,
and what is still inconclusive when `max_duration` is over ends as `on_inconclusive` says.

This is the parallel form, shares of the requests; shares of the instances are `canary_rolling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tidegate.schemas.manifest.steps import Canary
from tidegate.streams.strategies import canary_rolling
from tidegate.streams.strategies.base import (
    Kind,
    Move,
    Outlook,
    Shares,
    Standing,
    Strategy,
    Verdict,
    split,
)
from tidegate.streams.wording import basis_points, count, duration

SHARE_MAX_BP = 5_000
"""More than half of the traffic is no canary."""


def start(
    settings: Canary, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """The increment's share in equal parts, never above the cap or half of the traffic."""
    share_bp = min(settings.shares_bp[increment], settings.cap_bp, SHARE_MAX_BP)
    return Shares(split(share_bp, control, candidates))


def decide(standing: Standing) -> Move | None:
    """The next share, or the next step, when held long enough on enough requests."""
    settings: Canary = standing.settings
    if standing.held_ms < settings.hold_ms:
        return None
    share = basis_points(settings.shares_bp[standing.increment])
    held = f"canary {share} held for {duration(standing.held_ms)}"
    fewest = min(standing.candidates, key=standing.evidence.requests)
    samples = standing.evidence.requests(fewest)
    needed = count(settings.min_samples)
    if samples < settings.min_samples:
        verdict = Verdict.NO_DATA if samples == 0 else Verdict.INCONCLUSIVE
        reason = f"{held}, but {fewest} has {count(samples)} of {needed} requests: waiting"
        return Move(Kind.HOLD, verdict, reason)
    last = standing.increment == len(settings.shares_bp) - 1
    reason = f"{held} with {count(samples)} requests (at least {needed}), no guardrail failed"
    return Move(Kind.PASS if last else Kind.INCREMENT, Verdict.PASS, reason)


def out_of_time(standing: Standing, move: Move) -> Move:
    """What the manifest wants of a share that still waits when `max_duration` is over.

    What is inconclusive may pass where it says so; no data, and what a guardrail is sure of, never.
    """
    settings: Canary = standing.settings
    limit_ms = settings.max_duration_ms
    if move.kind is not Kind.HOLD or limit_ms is None or standing.held_ms < limit_ms:
        return move
    answer = settings.on_inconclusive or "hold"
    if answer == "pass" and move.verdict is not Verdict.INCONCLUSIVE:
        answer = "hold"
        why = "no data is no success" if move.verdict is Verdict.NO_DATA else "harm is no success"
        reason = f"{move.reason}; {duration(limit_ms)} are over, and {why}"
    else:
        reason = f"{move.reason}; {duration(limit_ms)} are over, on_inconclusive: {answer}"
    if answer == "hold":
        return replace(move, reason=reason)
    last = standing.increment == len(settings.shares_bp) - 1
    onward = Kind.PASS if last else Kind.INCREMENT
    return replace(move, kind=Kind.STOP if answer == "fail" else onward, reason=reason)


def outlook(standing: Standing) -> Outlook:
    """Time held, and what is still missing."""
    settings: Canary = standing.settings
    samples = min(map(standing.evidence.requests, standing.candidates), default=0)
    return Outlook(
        f"held {duration(standing.held_ms)} of {duration(settings.hold_ms)}",
        f"{duration(settings.hold_ms)} are held, {count(settings.min_samples)} requests counted"
        f" ({count(samples)} so far) and no guardrail fails",
    )


STRATEGY = Strategy(
    "canary", Canary, True, start, decide, outlook, forms={"rolling": canary_rolling.STRATEGY}
)
