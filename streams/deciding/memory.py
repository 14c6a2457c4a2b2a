"""Which control records have been seen: forgotten by log time, so that memory is bounded.

A record is remembered for `HORIZON_MS` after the later of its issue and its arrival; one issued
longer ago than that is refused as expired. So a repeated id never has an effect, however late.
"""

from __future__ import annotations

from collections.abc import Mapping

HORIZON_MS = 86_400_000


class SeenIds:
    """Ids with the log time until which they are remembered."""

    __slots__ = ("_next_sweep_ms", "_until_ms")

    def __init__(self, until_ms: Mapping[str, int] | None = None) -> None:
        self._until_ms = dict(until_ms or {})
        self._next_sweep_ms = min(self._until_ms.values(), default=0)

    def __contains__(self, control_id: str) -> bool:
        return control_id in self._until_ms

    def __len__(self) -> int:
        return len(self._until_ms)

    def add(self, control_id: str, issued_at_ms: int, log_time_ms: int) -> None:
        """Remembers an id."""
        self._until_ms[control_id] = max(issued_at_ms, log_time_ms) + HORIZON_MS
        self._next_sweep_ms = min(
            self._next_sweep_ms or self._until_ms[control_id], self._until_ms[control_id]
        )

    def forget(self, log_time_ms: int) -> None:
        """Drops what is due; cheap while nothing is."""
        if log_time_ms < self._next_sweep_ms or not self._until_ms:
            return
        kept = {name: until for name, until in self._until_ms.items() if until > log_time_ms}
        self._until_ms = kept
        self._next_sweep_ms = min(kept.values(), default=0)

    def to_state(self) -> dict[str, int]:
        """As JSON-able state."""
        return dict(self._until_ms)
