"""How a release goes on, one strategy a file; a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidegate.streams.strategies import bandit, canary, flag, full, shadow
from tidegate.streams.strategies.base import Shares, Standing, Strategy

STRATEGIES: Final[Mapping[str, Strategy]] = {
    "shadow": shadow.STRATEGY,
    "canary": canary.STRATEGY,
    "bandit": bandit.STRATEGY,
    "full": full.STRATEGY,
    "flag": flag.STRATEGY,
}

__all__ = ["STRATEGIES", "Shares", "Standing", "Strategy"]
