"""What a policy is: evidence about the arms in, traffic shares in basis points out.

Policies give shares, not choices: every request then has a known propensity, without which no
other policy can be judged on the log (Li, Chu, Langford, Schapire 2010).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tidegate.streams.estimation.strata import Arm


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What an operator may say; all shares in basis points.

    No arm gets less than `floor_bp`. Nothing moves unless the shares are off by `min_change_bp`
    in total variation, and no share moves by more than `max_change_bp` at once. Nothing is learnt
    before every arm has `min_samples` observations. `targets` are the shares of a fixed split.
    """

    goal: Literal["increase", "decrease"] = "increase"
    floor_bp: int = 500
    min_change_bp: int = 500
    max_change_bp: int = 10_000
    min_samples: int = 100
    targets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allocation:
    """A policy's answer: shares of all arms, basis points, sum 10,000.

    `moved` says whether they differ from the current ones. `probabilities` are those of being
    best, None while nothing can be said.
    """

    weights: Mapping[str, int]
    moved: bool
    probabilities: Mapping[str, float] | None = None


class Policy(Protocol):
    """Who gets the next request."""

    def __call__(
        self, arms: Sequence[Arm], current: Mapping[str, int], settings: PolicySettings
    ) -> Allocation:
        """Shares of the given arms; `current` are theirs now, sum 10,000.

        Raises:
            DefinitionError: the settings ask for more than there is to give.
        """
