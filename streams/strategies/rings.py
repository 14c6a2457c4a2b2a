"""Rings: one part of the population after another, by region, channel, segment or risk.

Candidates together get the same small share of every ring that has started, so that rings can be
compared and pooled; rings to come stay with control and are not learnt from. A ring starts when
the one before was held for `hold` of watermarked time, every candidate has `min_samples` requests
in it and no guardrail fails; or when a breach has closed the one before and only that one.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.schemas.manifest.steps import Rings
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
"""More than half of a ring is no trial."""


def start(
    settings: Rings, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """The same share in equal parts in every increment: what grows is who takes part."""
    return Shares(split(min(settings.weight_bp, SHARE_MAX_BP), control, candidates))


def decide(standing: Standing) -> Move | None:
    """The next ring, or the next step, when the running one was held on enough requests."""
    settings: Rings = standing.settings
    ring = settings.rings[standing.increment]
    onward = Kind.PASS if standing.increment == len(settings.rings) - 1 else Kind.INCREMENT
    if ring.name in standing.closed:
        # It has failed, and no data of it will come.
        reason = f"ring {ring.name} is closed, the others go on"
        return Move(onward, Verdict.FAIL, reason, needs_data=False)
    if standing.held_ms < settings.hold_ms:
        return None
    share = basis_points(settings.weight_bp)
    held = f"ring {ring.name} held at {share} for {duration(standing.held_ms)}"
    fewest = min(standing.candidates, key=lambda name: _samples(standing, name))
    samples, needed = _samples(standing, fewest), count(settings.min_samples)
    if samples < settings.min_samples:
        verdict = Verdict.NO_DATA if samples == 0 else Verdict.INCONCLUSIVE
        reason = f"{held}, but {fewest} has {count(samples)} of {needed} requests in it: waiting"
        return Move(Kind.HOLD, verdict, reason)
    reason = f"{held} with {count(samples)} requests (at least {needed}), no guardrail failed"
    return Move(onward, Verdict.PASS, reason)


def outlook(standing: Standing) -> Outlook:
    """The running ring, time held in it, and what is still missing."""
    settings: Rings = standing.settings
    number, hold = standing.increment, duration(settings.hold_ms)
    name = settings.rings[number].name
    samples = min((_samples(standing, each) for each in standing.candidates), default=0)
    return Outlook(
        f"ring {name} ({number + 1} of {len(settings.rings)}) held {duration(standing.held_ms)}"
        f" of {hold}",
        f"{hold} are held in {name}, {count(settings.min_samples)} requests counted in it"
        f" ({count(samples)} so far) and no guardrail fails",
    )


def _samples(standing: Standing, variant: str) -> int:
    ring = standing.settings.rings[standing.increment]
    return standing.evidence.requests_in(ring.name, variant)


STRATEGY = Strategy("rings", Rings, True, start, decide, outlook)
