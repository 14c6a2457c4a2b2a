"""Holding back log lines that come in floods, as clients write them while a broker is away."""

from __future__ import annotations

import logging
import re
import time

_LOG_SECONDS = 10.0
_KINDS_MAX = 1_000


class RateLimit(logging.Filter):
    """Lets one line of a kind through in ten seconds.

    A kind is the text without its numbers; the next line that passes says how many did not.
    """

    def __init__(self, seconds: float = _LOG_SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._dropped: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes."""
        kind = re.sub(r"\d+", "#", record.getMessage())
        # Names of hosts come from outside: what is remembered must stay bounded.
        if len(self._last) > _KINDS_MAX:
            self._last.clear()
            self._dropped.clear()
        now = time.monotonic()
        if now - self._last.get(kind, -self._seconds) < self._seconds:
            self._dropped[kind] = self._dropped.get(kind, 0) + 1
            return False
        self._last[kind] = now
        dropped = self._dropped.pop(kind, 0)
        if dropped:
            record.msg = f"{record.getMessage()} ({dropped} more like it)"
            record.args = ()
        return True
