"""A/B: a fixed split by unit, tested once with the power that was planned.

The test is two-sided, over all candidates at level `alpha` (Holm 1979), and made when the
information is in that tells `mde` from nothing with `power` (see `inference/fixed_horizon.py`), at
the latest after `max_duration`. A candidate that is better goes on as the winner; when all are
worse control is kept; what else happens the manifest says, since nothing told apart is neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tidegate.schemas.manifest.steps import Ab
from tidegate.streams.inference import fixed_horizon
from tidegate.streams.inference.fixed_horizon import Difference
from tidegate.streams.strategies.base import (
    ALL_BP,
    Kind,
    Move,
    Outlook,
    Shares,
    Standing,
    Strategy,
    Verdict,
    split,
)
from tidegate.streams.wording import count, duration, listing, number, percent


def start(
    settings: Ab, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """The manifest's shares, or equal ones; what a lost candidate had goes to control."""
    if settings.weights_bp == "equal":
        each = ALL_BP // (len(candidates) + 1)
        return Shares(split(each * len(candidates), control, candidates))
    shares = {name: settings.weights_bp[name] for name in candidates}
    return Shares({control: ALL_BP - sum(shares.values()), **shares})


def decide(standing: Standing) -> Move | None:
    """The one test, when it is due."""
    settings: Ab = standing.settings
    is_last_call = standing.held_ms >= settings.max_duration_ms
    found = _differences(standing)
    if len(found) < len(standing.candidates):
        return _without_data(standing) if is_last_call else None
    if not is_last_call and _progress(standing, found) < 1.0:
        return None
    return _conclude(standing, found)


def outlook(standing: Standing) -> Outlook:
    """How much of the planned information is in, and about how many requests it takes."""
    settings: Ab = standing.settings
    whole = duration(settings.max_duration_ms)
    ran = f"ran {duration(standing.held_ms)} of at most {whole}"
    found = _differences(standing)
    progress = _progress(standing, found) if len(found) == len(standing.candidates) else 0.0
    if progress <= 0.0:
        return Outlook(ran, f"the test is due, or {whole} are over")
    closed = sum(item.n_candidate for item in found.values()) + max(
        item.n_control for item in found.values()
    )
    return Outlook(
        f"{ran}, {percent(min(progress, 1.0), 0)} of the evidence",
        f"about {count(round(closed / progress))} requests have closed, or {whole} are over",
    )


def _differences(standing: Standing) -> dict[str, Difference]:
    """Candidates that can be compared: both sides have `min_samples` closed requests."""
    settings: Ab = standing.settings
    alpha = settings.alpha / max(1, len(standing.candidates))
    found = {}
    for name in standing.candidates:
        item = fixed_horizon.welch(standing.evidence.pairs(name), alpha)
        if item is not None and min(item.n_control, item.n_candidate) >= settings.min_samples:
            found[name] = item
    return found


def _progress(standing: Standing, found: Mapping[str, Difference]) -> float:
    """Share of the planned information that the slowest candidate has."""
    settings: Ab = standing.settings
    alpha = settings.alpha / max(1, len(found))
    shares = []
    for item in found.values():
        delta = settings.mde.value
        if settings.mde.kind == "relative":
            delta *= abs(item.control)
        if delta <= 0.0:  # a control that is 0 so far has no relative effects
            return 0.0
        shares.append(fixed_horizon.information_share(item, delta, alpha, settings.power))
    # Whose last candidate was rolled back has nothing to test, and is looked at still.
    return min(shares, default=0.0)


def _conclude(standing: Standing, found: Mapping[str, Difference]) -> Move:
    adjusted = fixed_horizon.holm({name: item.p_value for name, item in found.items()})
    sign = 1.0 if standing.evidence.goal == "increase" else -1.0
    gains = {
        name: sign * item.estimate
        for name, item in found.items()
        if adjusted[name] < standing.settings.alpha
    }
    said = [_said(name, item, adjusted[name]) for name, item in sorted(found.items())]
    evidence = {
        "ab": {
            name: {**asdict(item), "adjusted_p_value": adjusted[name]}
            for name, item in found.items()
        }
    }
    better = [name for name, gain in gains.items() if gain > 0.0]
    if better:
        winner = min(better, key=lambda name: (-gains[name], name))
        reason = f"{listing(said)}: {winner} is better"
        return Move(Kind.PASS, Verdict.PASS, reason, winner=winner, evidence=evidence)
    if len(gains) == len(found):
        reason = f"{listing(said)}: {standing.control} is kept"
        return Move(
            Kind.FINISH, Verdict.FAIL, reason, winner=standing.control, evidence=evidence
        )
    return _inconclusive(standing, listing(said), evidence)


def _inconclusive(standing: Standing, said: str, evidence: Mapping[str, Any]) -> Move:
    verdict = Verdict.INCONCLUSIVE
    wish = standing.settings.on_inconclusive
    if wish == "control":
        reason = f"{said}: nothing is told apart, {standing.control} is kept"
        return Move(Kind.FINISH, verdict, reason, winner=standing.control, evidence=evidence)
    if wish == "pass":
        reason = f"{said}: nothing is told apart, the release goes on"
        return Move(Kind.PASS, verdict, reason, evidence=evidence)
    reason = f"{said}: nothing is told apart, a person decides"
    return Move(Kind.STOP, verdict, reason, evidence=evidence)


def _without_data(standing: Standing) -> Move:
    """No data is no success, whatever the manifest says of what is inconclusive."""
    reason = (
        f"{duration(standing.held_ms)} are over, and not every variant has"
        f" {count(standing.settings.min_samples)} closed requests that differ"
    )
    if standing.settings.on_inconclusive == "control":
        reason += f": {standing.control} is kept"
        return Move(Kind.FINISH, Verdict.NO_DATA, reason, winner=standing.control)
    return Move(Kind.STOP, Verdict.NO_DATA, reason)


def _said(name: str, found: Difference, p_value: float) -> str:
    return (
        f"{name} {number(found.candidate)} against {number(found.control)} in control"
        f" (difference {number(found.lower)} to {number(found.upper)}, {_p_value(p_value)},"
        f" n = {count(round(found.n_candidate))})"
    )


def _p_value(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {number(p_value)}"


STRATEGY = Strategy("ab", Ab, True, start, decide, outlook)
