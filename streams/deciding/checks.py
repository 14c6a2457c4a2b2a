"""Checks of a guardrail that is measured again and again: how many failed, and in a row."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.streams.strategies.base import Verdict


@dataclass(slots=True)
class Check:
    """A guardrail's checks in the running increment: the last one's watermark, and the failed."""

    at_ms: int
    failures: int = 0
    consecutive: int = 0

    def take(self, verdict: Verdict, watermark_ms: int) -> None:
        """Counts a check; only a passed one ends a row, nothing unsure does."""
        self.at_ms = watermark_ms
        if verdict is Verdict.FAIL:
            self.failures += 1
            self.consecutive += 1
        elif verdict is Verdict.PASS:
            self.consecutive = 0
