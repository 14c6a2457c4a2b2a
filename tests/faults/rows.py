"""A row of the table of faults: what was done, what came of it, whether it passes."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Row:
    """What one fault did, `times` times.

    `facts` are those a calm fold of the same logs gives, `requests` those in the logs; `lost` and
    `doubled` what readers miss and what they count beyond; `copies` the batches that came again
    with equal bytes, which readers drop. `recoveries` are seconds from the fault, or from its end
    where it lasts, until every partition has told of facts younger than it. `ended` counts how
    workers ended without being asked; `failures` is what else is wrong.
    """

    name: str
    what: str
    times: int = 0
    requests: int = 0
    facts: int = 0
    lost: int = 0
    doubled: int = 0
    copies: int = 0
    recoveries: list[float] = field(default_factory=list)
    ended: Counter[int] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing was lost or doubled, the fault took place and was got over."""
        sound = not self.lost and not self.doubled and not self.failures
        return sound and bool(self.times and self.facts)

    def cells(self) -> list[str]:
        """As the table shows it."""
        ended = ", ".join(f"{count}x{code}" for code, count in sorted(self.ended.items()))
        return [
            self.name,
            self.what,
            f"{self.times:,}",
            f"{self.requests:,}",
            f"{self.facts:,}",
            f"{self.lost:,}",
            f"{self.doubled:,}",
            f"{self.copies:,}",
            _seconds(self.recoveries, 0.5),
            _seconds(self.recoveries, 0.99),
            "; ".join([*([f"ends {ended}"] if ended else []), *self.notes, *self.failures]),
        ]


HEAD = ("fault", "what is done", "times", "requests", "facts", "lost", "doubled", "copies",
        "p50 s", "p99 s", "notes")  # fmt: skip


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1_000) * len(ordered) // 1_000) - 1)]


def _seconds(values: Sequence[float], share: float) -> str:
    return f"{quantile(values, share):.1f}" if values else "-"


def table(rows: Sequence[Row]) -> str:
    """All rows as a Markdown table."""
    lines = [HEAD, tuple("---" for _ in HEAD), *(row.cells() for row in rows)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def machine() -> str:
    """Where and beside what the rows were measured."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {python}, load {load}"
