"""What a method concludes: an estimate with a bound on either side, each valid at any time.

A confidence sequence in the sense of Darling and Robbins (1967): the bounds hold at all times at
once, so a decision may look whenever it likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tidegate.schemas.canonical import round_significant


@dataclass(frozen=True, slots=True)
class Bound:
    """One variant's level. `lower` and `upper` each miss the truth with probability alpha."""

    estimate: float
    lower: float
    upper: float
    alpha: float
    n: float


@dataclass(frozen=True, slots=True)
class Interval:
    """Candidate minus control; relative to control when `relative`.

    `lower` and `upper` each miss the truth with probability `alpha`, at whatever time one looks;
    None: nothing can be said on that side. `control` and `candidate` are the means compared, by
    stratum; `n_control` and `n_candidate` the observations behind them.
    """

    estimate: float | None
    lower: float | None
    upper: float | None
    alpha: float
    control: float
    candidate: float
    n_control: float
    n_candidate: float
    relative: bool

    def is_worse(self, goal: Literal["increase", "decrease"], limit: float) -> bool:
        """Whether the candidate is worse than control by more than `limit`, surely."""
        if goal == "decrease":
            return self.lower is not None and self.lower > limit
        return self.upper is not None and self.upper < -limit

    def is_within(self, goal: Literal["increase", "decrease"], limit: float) -> bool:
        """Whether the candidate is not worse than control by more than `limit`, surely."""
        if goal == "decrease":
            return self.upper is not None and self.upper <= limit
        return self.lower is not None and self.lower >= -limit


def rounded(value: float | None) -> float | None:
    """To 9 significant digits: what is compared is what is published."""
    return None if value is None else round_significant(value)
