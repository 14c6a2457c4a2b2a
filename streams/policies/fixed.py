"""Fixed split: shares that somebody chose; evidence moves nothing.

The randomised experiment of Fisher (1935); equal shares need the fewest requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidegate.schemas.errors import DefinitionError
from tidegate.streams.estimation.strata import Arm
from tidegate.streams.policies.policy import Allocation, PolicySettings
from tidegate.streams.policies.shares import ALL_BP


def allocate(
    arms: Sequence[Arm], current: Mapping[str, int], settings: PolicySettings
) -> Allocation:
    """The targets, or equal shares when there are none.

    >>> allocate((), {"a": 10000, "b": 0, "c": 0}, PolicySettings()).weights
    {'a': 3334, 'b': 3333, 'c': 3333}
    """
    names = sorted(current)
    if settings.targets:
        weights = {name: settings.targets.get(name, 0) for name in names}
        if sum(weights.values()) != ALL_BP or min(weights.values()) < 0:
            raise DefinitionError(f"the shares {dict(settings.targets)} do not sum to {ALL_BP}")
    else:
        each, left = divmod(ALL_BP, len(names))
        weights = {name: each + (place < left) for place, name in enumerate(names)}
    return Allocation(weights, weights != dict(current))
