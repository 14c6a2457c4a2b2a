"""Shadow: candidates answer a sample of control's requests without being shown.

Ends when every candidate was compared on `until.requests` requests. The requirement is judged
then: a candidate that breaks it stops the release for a person, since nobody was harmed.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

from tidegate.schemas.manifest.steps import Shadow
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
from tidegate.streams.wording import count, listing, percent

_HOLDS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}


def start(
    settings: Shadow, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """Control serves everybody; every candidate answers the sample unseen."""
    return Shares({control: ALL_BP}, dict.fromkeys(candidates, settings.sample_bp))


def decide(standing: Standing) -> Move | None:
    """Passes, or stops, once every candidate was compared often enough."""
    settings: Shadow = standing.settings
    compared = {name: standing.evidence.disagreement(name) for name in standing.candidates}
    if any(total < settings.until.requests for _, total in compared.values()):
        return None
    required = settings.require.disagreement if settings.require is not None else None
    said, broken = [], []
    for name, (disagreeing, total) in compared.items():
        share = disagreeing / total
        said.append(f"{name} disagreed on {percent(share)} of {count(total)} compared requests")
        if required is not None and not _HOLDS[required.operator](share, required.value):
            broken.append(name)
    limit = "" if required is None else f" (required {required.operator} {percent(required.value)})"
    reason = listing(said) + limit
    evidence = {"disagreement": {name: list(pair) for name, pair in compared.items()}}
    if broken:
        return Move(Kind.STOP, Verdict.FAIL, reason, winner=broken[0], evidence=evidence)
    return Move(Kind.PASS, Verdict.PASS, reason, evidence=evidence)


def outlook(standing: Standing) -> Outlook:
    """Compared requests of the candidate that has fewest."""
    settings: Shadow = standing.settings
    totals = [standing.evidence.disagreement(name)[1] for name in standing.candidates]
    fewest = min(totals, default=0)
    needed = count(settings.until.requests)
    following = f"{needed} requests are compared ({count(fewest)})"
    if settings.require is not None:
        required = settings.require.disagreement
        following += f" and at most {percent(required.value)} disagree"
    silent = sum(standing.evidence.incomparable(name) for name in standing.candidates)
    if silent:
        following += f"; {count(silent)} pairs have neither labels nor scores on both sides"
    return Outlook(f"{count(fewest)} of {needed} compared", following)


STRATEGY = Strategy("shadow", Shadow, False, start, decide, outlook)
