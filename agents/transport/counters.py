"""What the transport met since the process began."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Totals; `discarded` fetches crossed a rebalance, `trimmed` ones overlapped."""

    records: int = 0
    batches: int = 0
    trimmed: int = 0
    discarded: int = 0
    coordination_errors: int = 0
    pauses: int = 0
