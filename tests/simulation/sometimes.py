"""What a run must have seen at least once: one that saw no fault proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation.schedule import FAULTS, SERVICE_FAULTS, USUAL
from tests.simulation.workers import CRASH_POINTS

if TYPE_CHECKING:
    from tests.simulation.running import Summary

ENOUGH: Final = 2_000
"""From so many schedules on everything must have been seen."""

_EVENTS = sorted({*FAULTS, *SERVICE_FAULTS, *(name for kind in USUAL.values() for name in kind)})
_CLASSES = (
    *(f"prediction {name}" for name in ("counted", "duplicate", "conflict", "expired",
                                        "dead_lettered")),
    *(f"{stream} {name}" for stream in ("shadow", "outcome")
      for name in ("counted", "late", "orphan", "duplicate", "conflict", "expired",
                   "dead_lettered")),
)  # fmt: skip
_LETTERS = (
    "framing", "schema", "truncated", "trailing", "value", "clock", "empty", "length", "latency",
    "propensity", "wait",
)  # fmt: skip
_ACTIONS = (
    "APPLY", "SET", "ADVANCE", "UPDATE", "PROMOTE", "ROLLBACK", "STEP_BACK", "PAUSE", "RESUME",
    "ABORT", "FINISH", "HOLD", "REFUSED", "RETRY", "APPROVE",
)  # fmt: skip
_PHASES = ("RUNNING", "PAUSED", "PROMOTED", "COMPLETED", "ROLLED_BACK", "ABORTED", "FLAG")
_REASONS = ("SPLIT", "DEFAULT", "EXCLUDED", "ROLLED_BACK", "BREAKER", "STALE")
_STEPS = ("shadow", "canary", "ab", "bandit", "pause", "approve", "full", "flag")
_BREACHES = ("rollback", "step_back", "pause", "alert", "no data")
_DECIDER = (
    "batch.next", "batch.known", "batch.gap", "order.repeated", "order.refused",
    "fact.counted", "fact.other_generation", "control.dead_lettered",
    "applied.dead_lettered", "observations.dead_lettered",
)  # fmt: skip

SOMETIMES: Final = (
    *(f"event: {name}" for name in _EVENTS),
    *(f"crash: {name}" for name in (*CRASH_POINTS, "beside a damaged checkpoint",
                                    "end of a zombie")),
    *(f"class: {name}" for name in _CLASSES),
    *(f"dead letter: {name}" for name in _LETTERS),
    *(f"action: {name}" for name in _ACTIONS),
    *(f"phase: {name}" for name in _PHASES),
    *(f"reason: {name}" for name in _REASONS),
    *(f"decider: {name}" for name in _DECIDER),
    *(f"step: {name}" for name in _STEPS),
    *(f"breach: {name}" for name in _BREACHES),
    *(f"breaker: {name}" for name in ("HOLD", "PAUSE", "ROLLBACK")),
    *(f"passed by {name}" for name in ("APPROVE", "PROMOTE", "RESUME")),
    "refused for its role",
    "started anew", "started from a checkpoint", "checkpoint damaged", "gap accepted",
    "older checkpoint used", "segments referred to", "started from segments",
    "statistics compared", "announced jump", "audited",
)  # fmt: skip


def missing(summary: Summary) -> list[str]:
    """What should have been seen and was not; nothing is asked of short runs."""
    if sum(summary.schedules.values()) < ENOUGH:
        return []
    return [name for name in SOMETIMES if not summary.seen[name]]
