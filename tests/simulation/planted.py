"""All planted bugs: the simulator must catch every one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.simulation import planted_deciding, planted_joining, planted_serving
from tests.simulation.planting import Bug, Caught

__all__ = ["BUGS", "Bug", "Caught"]

BUGS: Final[Mapping[str, Bug]] = {
    **planted_joining.BUGS, **planted_deciding.BUGS, **planted_serving.BUGS,
}  # fmt: skip
"""By name."""
