"""Invariants of decisions."""

from __future__ import annotations

from tests.simulation.world import World
from tidegate.streams.folding import PartitionFold
from tidegate.streams.output import Output


def check_decided(world: World, fold: PartitionFold, outputs: list[Output]) -> None:
    """All of one partition of experiments."""
