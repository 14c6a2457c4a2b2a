"""Plain counts per variant: everything is counted, though not everything is learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tidegate.schemas.facts import CLASSES, STATUSES


@dataclass(slots=True)
class Tally:
    """Requests of one variant.

    `reasons` and `statuses` count exposures by the words of the prediction; `irregular` counts
    late, orphan, duplicate, conflict and expired facts of any stream. `inverse_propensity` is the
    sum of 1/p over learnt exposures, `opportunities` the number of learnt exposures of all variants
    under tables that gave this one a share: equal, about, when recorded propensities are true.
    """

    exposures: int = 0
    learnt: int = 0
    closed: int = 0
    matched: int = 0
    inverse_propensity: float = 0.0
    opportunities: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    irregular: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES[1:], 0))

    def to_state(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes over what `to_state` gave."""
        for item in fields(self):
            setattr(self, item.name, copy(state[item.name]))


@dataclass(slots=True)
class ShadowTally:
    """Requests a variant answered unseen, compared one by one with the answers that were given.

    `disagree` and `agree` leave out pairs that could not be compared. `failures` counts shadow
    answers that are not OK.
    """

    pairs: int = 0
    agree: int = 0
    disagree: int = 0
    failures: int = 0

    @property
    def disagreement(self) -> float | None:
        """Share of compared pairs that differ, None without any."""
        compared = self.agree + self.disagree
        return self.disagree / compared if compared else None

    def to_state(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes over what `to_state` gave."""
        for item in fields(self):
            setattr(self, item.name, copy(state[item.name]))
