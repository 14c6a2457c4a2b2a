"""Thompson sampling: an arm's share is its probability of being the best.

Thompson 1933; Chapelle and Li: An empirical evaluation of Thompson sampling, NIPS 2011. The
probabilities are integrated, not drawn, and published as shares: every request has a true
propensity, and a replay gives the same shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidegate.streams.estimation.strata import Arm
from tidegate.streams.inference.best import probabilities
from tidegate.streams.policies.policy import Allocation, PolicySettings
from tidegate.streams.policies.shares import ALL_BP, capped, total_variation_bp, with_floor


def allocate(
    arms: Sequence[Arm], current: Mapping[str, int], settings: PolicySettings
) -> Allocation:
    """P(best), floor added, rounded; kept as it is while it is nearly what it was.

    Small changes are not published: each costs a routing version, and with it a stratum of the
    evidence, and regret is the same without them. Shares below the floor are raised at once.
    """
    given = {arm.name: current.get(arm.name, 0) for arm in arms}
    before = _grounded(given, settings.floor_bp)
    enough = all(arm.n >= settings.min_samples for arm in arms)
    chances = probabilities(arms, settings.goal) if enough else None
    weights = before
    if chances is not None:
        target = with_floor(chances, settings.floor_bp)
        if total_variation_bp(before, target) >= settings.min_change_bp:
            weights = capped(before, target, settings.max_change_bp)
    return Allocation(weights, weights != given, chances)


def _grounded(shares: Mapping[str, int], floor_bp: int) -> dict[str, int]:
    """The shares scaled to the whole, as they are when arms came or went, and lifted to the floor.

    Equal shares when none of the arms has one.
    """
    total = sum(shares.values())
    equal = 1.0 / len(shares)
    parts = {name: share / total if total else equal for name, share in shares.items()}
    if total == ALL_BP and min(shares.values()) >= floor_bp:
        return dict(shares)
    return with_floor(parts, floor_bp)
