"""Structured logs: one JSON object a line on stderr, repeats held back; sentences on a terminal."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from tidegate.agents.log_rate import RateLimit

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Their information is of interest to those who work on them.
_LIBRARIES = ("aiokafka", "asyncio", "faust", "mode")


class JsonFormatter(logging.Formatter):
    """One line a record: time, level, logger, message, and whatever `extra` brought."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.converter = time.gmtime
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; values that JSON cannot say are said as text."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_extras(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """For people at a terminal: time of day, role, what happened; faults on lines of their own."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """The record as a sentence."""
        extras = ", ".join(f"{name} {value}" for name, value in _extras(record).items())
        line = f"{self.formatTime(record, '%H:%M:%S')}  {self._role:8} {record.getMessage()}"
        line += f" ({extras})" if extras else ""
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def configure_logs(role: str, level: int = logging.INFO) -> None:
    """Send all logs of this process to stderr: as JSON, or as sentences when that is a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = PlainFormatter if sys.stderr.isatty() else JsonFormatter
    handler.setFormatter(formatter(role))
    # On the handler, not the loggers: filters of a logger do not see its children's records.
    handler.addFilter(RepeatsHeldBack())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(max(level, logging.WARNING))


class RepeatsHeldBack(RateLimit):
    """Rate limit for warnings and errors: clients say them by the thousand while a broker is away.

    What is only information is said once for each thing that happened, and passes.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes."""
        if logging.WARNING <= record.levelno < logging.CRITICAL:
            return super().filter(record)
        return True
