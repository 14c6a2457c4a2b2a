"""What the transport met since the process began."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Totals; `discarded` fetches crossed a rebalance, `trimmed` ones overlapped.

    `group_at` is when the group's coordinator last took a heartbeat or gave an assignment, in
    seconds of the monotonic clock; at first, when this was made.
    """

    records: int = 0
    batches: int = 0
    trimmed: int = 0
    discarded: int = 0
    coordination_errors: int = 0
    pauses: int = 0
    group_at: float = field(default_factory=time.monotonic)
