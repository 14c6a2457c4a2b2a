"""The local breaker: a candidate that keeps failing is cut here and now, and reported later.

The decider's guardrail is the judge, but it hears of failures only over Kafka. Until then, and when
Kafka is away, each process protects its own users. A cut ends after a while with a new trial.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

CALLS_MIN = 20
ERROR_SHARE_MIN = 0.05
ERROR_FACTOR = 3.0
CONSECUTIVE_ERRORS = 5
CALLS_REMEMBERED = 1_000
CUT_SECONDS = 60.0
CUT_SECONDS_MAX = 600.0


@dataclass(slots=True)
class _Record:
    calls: float = 0.0
    errors: float = 0.0
    in_a_row: int = 0
    cuts: int = 0
    cut_until: float | None = None


class Breaker:
    """Calls and failures by (experiment, variant); time is seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], _Record] = {}
        self._lock = threading.Lock()

    def record(
        self, experiment: str, variant: str, control: str, is_error: bool, now: float
    ) -> bool:
        """Takes the outcome of a call; True when the variant must be cut now.

        A candidate is cut after 5 failures in a row, or when of at least 20 calls more than 5 %
        and more than three times control's share failed. Control is never cut.
        """
        with self._lock:
            found = self._records.setdefault((experiment, variant), _Record())
            if found.calls >= CALLS_REMEMBERED:
                found.calls, found.errors = found.calls / 2, found.errors / 2
            found.calls += 1
            found.errors += is_error
            found.in_a_row = found.in_a_row + 1 if is_error else 0
            if variant == control or found.cut_until is not None or not is_error:
                return False
            baseline = self._records.get((experiment, control), _Record())
            share = baseline.errors / baseline.calls if baseline.calls else 0.0
            limit = max(ERROR_SHARE_MIN, ERROR_FACTOR * share)
            often = found.calls >= CALLS_MIN and found.errors > limit * found.calls
            if found.in_a_row < CONSECUTIVE_ERRORS and not often:
                return False
            found.cut_until = now + min(CUT_SECONDS * 2**found.cuts, CUT_SECONDS_MAX)
            found.cuts += 1
            return True

    def cut(self, experiment: str, now: float) -> tuple[str, ...]:
        """Variants of an experiment that are cut; one whose time is over gets a new trial."""
        with self._lock:
            cut = []
            for (name, variant), found in self._records.items():
                if name != experiment or found.cut_until is None:
                    continue
                if found.cut_until > now:
                    cut.append(variant)
                else:
                    found.calls, found.errors, found.in_a_row, found.cut_until = 0.0, 0.0, 0, None
            return tuple(sorted(cut))

    def forget(self, experiment: str) -> None:
        """A new generation: other models may stand behind the same names."""
        with self._lock:
            for key in [key for key in self._records if key[0] == experiment]:
                del self._records[key]

    def experiments(self) -> tuple[str, ...]:
        """Experiments in which something is cut."""
        with self._lock:
            return tuple(sorted({
                name for (name, _), found in self._records.items() if found.cut_until is not None
            }))

    def renew_lock(self) -> None:
        """After a fork the old lock may be held by a thread that is not there."""
        self._lock = threading.Lock()
