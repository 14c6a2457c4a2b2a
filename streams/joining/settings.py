"""What the joiner's conclusions depend on besides its input: part of the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TIMER_GRID_MS: Final = 100
"""Deadlines are rounded up to it, so that requests share timers; time moves in ticks anyway."""

SILENCE_MS: Final = 1_000
"""An empty batch goes out after this much log time without one: it says how far it has come."""

BATCH_BYTES: Final = 900_000
"""What a batch may hold: a record must stay below a broker's default of 1 MB. Texts are counted
with every fact that refers to them, so a batch is in truth smaller."""

OUTCOMES_MAX: Final = 256
"""Outcomes and shadows kept for one request; what exceeds it is `expired`."""

SWEEP_MS: Final = 10_000
"""How often, in log time, it is looked for contexts and names that nothing refers to."""


@dataclass(frozen=True, slots=True)
class JoinerSettings:
    """Times in ms of log time; caps per partition.

    `observation_partitions` is the number of partitions of `observations`. Caps bound memory
    under hostile input: what exceeds them is forgotten, earliest deadline first, as `expired`.
    """

    observation_partitions: int = 4
    emit_interval_ms: int = 100
    facts_per_batch: int = 5_000
    early_tolerance_ms: int = 120_000
    grace_ms: int = 30_000
    closed_memory_ms: int = 600_000
    future_tolerance_ms: int = 300_000
    open_max: int = 2_000_000
    closed_max: int = 2_000_000
    waiting_max: int = 500_000
    interned_max: int = 65_536

    @property
    def early_wait_ms(self) -> int:
        """How long an outcome or shadow waits for its prediction."""
        return self.early_tolerance_ms + self.grace_ms
