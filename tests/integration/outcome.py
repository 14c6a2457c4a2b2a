"""What one run over a recorded log gave, and what is wrong with a set of runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """What a run gave. `digests` are over first copies, in order, by partition or topic.

    `missing`, `unknown` and `unequal` are against what the recorded log must give.
    """

    name: str
    seconds: float = 0.0
    digests: dict[str, str] = field(default_factory=dict)
    missing: int = 0
    unknown: int = 0
    unequal: int = 0
    duplicates: int = 0
    restored: int = 0
    kills: int = 0
    started_again: int = 0

    def __str__(self) -> str:
        found = " ".join(self.digests[place][:8] for place in sorted(self.digests))
        return (
            f"{self.name:36} {self.seconds:6.1f} s  {self.duplicates:6,} duplicates"
            f"  {self.restored:3} restores  {self.kills} kills"
            f"  {self.started_again} started again  digests {found}"
            f"  missing {self.missing} unknown {self.unknown} unequal {self.unequal}"
        )


def verdict(outcomes: Sequence[Outcome]) -> list[str]:
    """What is wrong with a set of runs; it is also wrong when the faults showed nowhere."""
    faults = [str(it) for it in outcomes if it.missing or it.unknown or it.unequal]
    if len({json.dumps(it.digests, sort_keys=True) for it in outcomes}) != 1:
        faults.append("the runs gave different outputs")
    if not sum(it.restored for it in outcomes):
        faults.append("no worker went on from a checkpoint that was not empty")
    if not sum(it.duplicates for it in outcomes):
        faults.append("nothing was written twice")
    return faults


def conclude(outcomes: Sequence[Outcome], success: str) -> int:
    """Print the verdict; the exit code."""
    faults = verdict(outcomes)
    sys.stdout.write("\n".join(faults or [success]) + "\n")
    return 1 if faults else 0
