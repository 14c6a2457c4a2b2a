"""What a host counts."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class HostStatistics:
    """For metrics: totals since the process began; misplaced keys by topic."""

    checkpoint_pause_seconds: float = 0.0
    longest_pause_seconds: float = 0.0
    misplaced: dict[str, int] = field(default_factory=dict)
    sampled_keys: int = 0
    restored: int = 0

    def paused(self, seconds: float) -> None:
        """State was written down, and nothing else was done meanwhile."""
        self.checkpoint_pause_seconds += seconds
        self.longest_pause_seconds = max(self.longest_pause_seconds, seconds)

    @property
    def misplaced_keys(self) -> int:
        """How many sampled keys stood in a partition that murmur2 would not have chosen."""
        return sum(self.misplaced.values())
