"""Bandit: weights follow the evidence on the objective, never below the floor.

Every `every` of watermarked time the policy says which share each variant deserves; weights are
published only when one changes by `min_change`, since moving units costs more than it gains, and
none changes by more than `max_change` at a time. The step ends when one variant is the best with
probability `until.p_best`; when nobody is by `max_duration`, a person decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidegate.schemas.manifest.steps import Bandit
from tidegate.streams.policies import POLICIES, Allocation, PolicySettings
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
from tidegate.streams.wording import duration, listing, percent


def start(
    settings: Bandit, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """Equal shares: nothing is known yet."""
    each = ALL_BP // (len(candidates) + 1)
    return Shares(split(each * len(candidates), control, candidates))


def decide(standing: Standing) -> Move | None:
    """Other weights, the end with a winner, or a stop when time is over."""
    settings: Bandit = standing.settings
    if standing.watermark_ms - max(standing.checked_ms, standing.since_ms) < settings.every_ms:
        return None
    allocation = _allocate(standing)
    chances = allocation.probabilities
    if chances is not None:
        best = max(sorted(chances), key=lambda name: chances[name])
        if chances[best] >= settings.until.p_best:
            return _end(standing, best, chances)
    if standing.held_ms >= settings.max_duration_ms:
        reason = f"bandit ran for {duration(standing.held_ms)}, {_said(chances)}: nobody is best"
        verdict = Verdict.NO_DATA if chances is None else Verdict.INCONCLUSIVE
        return Move(Kind.STOP, verdict, reason, evidence={"p_best": chances})
    if not allocation.moved:
        return Move(Kind.CHECKED)
    weights = {**dict.fromkeys(standing.weights, 0), **allocation.weights}
    return Move(
        Kind.WEIGH, Verdict.INCONCLUSIVE, _said(chances), weights, evidence={"p_best": chances}
    )


def outlook(standing: Standing) -> Outlook:
    """Time left, and the probability that is waited for."""
    settings: Bandit = standing.settings
    wanted = percent(settings.until.p_best, 0)
    return Outlook(
        f"ran {duration(standing.held_ms)} of {duration(settings.max_duration_ms)}",
        f"one variant is best with {wanted} ({_said(_allocate(standing).probabilities)})",
    )


def _allocate(standing: Standing) -> Allocation:
    """What the policy says now; without probabilities below `min_samples` closed requests."""
    settings: Bandit = standing.settings
    arms = standing.evidence.arms((standing.control, *standing.candidates))
    return POLICIES[settings.policy](
        arms,
        standing.weights,
        PolicySettings(
            goal=standing.evidence.goal,
            floor_bp=settings.floor_bp,
            min_change_bp=settings.min_change_bp,
            max_change_bp=settings.max_change_bp,
            min_samples=settings.min_samples,
        ),
    )


def _end(standing: Standing, best: str, chances: Mapping[str, float]) -> Move:
    wanted = percent(standing.settings.until.p_best, 0)
    reason = f"{best} is best with {percent(chances[best])} (at least {wanted})"
    evidence = {"p_best": dict(chances)}
    if best == standing.control:
        reason += f"; {listing(standing.candidates)} did not beat control"
        return Move(Kind.FINISH, Verdict.FAIL, reason, winner=best, evidence=evidence)
    return Move(Kind.PASS, Verdict.PASS, reason, winner=best, evidence=evidence)


def _said(chances: Mapping[str, float] | None) -> str:
    if chances is None:
        return "too few closed requests"
    said = [f"{name} {percent(chance)}" for name, chance in sorted(chances.items())]
    return f"best: {listing(said)}"


STRATEGY = Strategy("bandit", Bandit, True, start, decide, outlook)
