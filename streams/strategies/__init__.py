"""How a release goes on, one strategy a file; a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidegate.streams.strategies import (
    ab,
    approve,
    bandit,
    blue_green,
    canary,
    flag,
    full,
    pause,
    recreate,
    rings,
    rolling,
    shadow,
)
from tidegate.streams.strategies.base import Shares, Standing, Strategy

STRATEGIES: Final[Mapping[str, Strategy]] = {
    "shadow": shadow.STRATEGY,
    "canary": canary.STRATEGY,
    "ab": ab.STRATEGY,
    "bandit": bandit.STRATEGY,
    "rings": rings.STRATEGY,
    "pause": pause.STRATEGY,
    "approve": approve.STRATEGY,
    "blue_green": blue_green.STRATEGY,
    "rolling": rolling.STRATEGY,
    "recreate": recreate.STRATEGY,
    "full": full.STRATEGY,
    "flag": flag.STRATEGY,
}

__all__ = ["STRATEGIES", "Shares", "Standing", "Strategy"]
