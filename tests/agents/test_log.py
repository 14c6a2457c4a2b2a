"""Logs: one JSON object a line, floods held back."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from tidegate.agents.log import JsonFormatter, PlainFormatter, RepeatsHeldBack, configure_logs


def record(message: str, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    """A log record as a logger would make it."""
    made = logging.LogRecord("tidegate.test", level, "file.py", 1, message, (), None)
    vars(made).update(extra)
    return made


def test_a_line_is_one_object() -> None:
    """Time, level, role, logger, message, and what came along."""
    line = json.loads(JsonFormatter("joiner").format(record("live", partition=3)))
    assert line["message"] == "live"
    assert (line["level"], line["role"], line["partition"]) == ("info", "joiner", 3)
    assert line["time"].endswith("Z")


def test_at_a_terminal_it_is_a_sentence() -> None:
    """People read time, role, message, what came along, and faults on lines of their own."""
    formatter = PlainFormatter("joiner")
    assert formatter.format(record("live", partition=3)).endswith("  joiner   live (partition 3)")
    refusal = formatter.format(record("stopping with exit code 2\noutcomes is missing"))
    assert refusal.splitlines()[1] == "outcomes is missing"
    try:
        raise ValueError("broken")
    except ValueError:
        made = record("failed", logging.ERROR)
        made.exc_info = sys.exc_info()
    assert formatter.format(made).endswith("ValueError: broken")


def test_who_reads_decides_the_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets sentences, everything else JSON."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    for terminal, kind in ((True, PlainFormatter), (False, JsonFormatter)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        configure_logs("joiner")
        assert isinstance(root.handlers[0].formatter, kind)


def test_an_exception_comes_with_its_trace() -> None:
    """What happened can be read from the line alone."""
    try:
        raise ValueError("broken")
    except ValueError:
        made = record("failed", logging.ERROR)
        made.exc_info = sys.exc_info()
    line = json.loads(JsonFormatter("joiner").format(made))
    assert "ValueError: broken" in line["exception"]


def test_what_json_cannot_say_is_said_as_text() -> None:
    """A log line never fails for what it carries."""
    line = json.loads(JsonFormatter("joiner").format(record("x", topic={1})))
    assert line["topic"] == "{1}"


def test_floods_of_warnings_are_held_back() -> None:
    """A broker that is away is said once in ten seconds."""
    held = RepeatsHeldBack()
    passed = [held.filter(record(f"broker {n} down", logging.WARNING)) for n in range(100)]
    assert sum(passed) == 1


def test_information_and_the_end_always_pass() -> None:
    """Each checkpoint is news, and why a process stopped is not a repeat."""
    held = RepeatsHeldBack()
    for level in (logging.INFO, logging.CRITICAL):
        assert all(held.filter(record(f"line {n}", level)) for n in range(10))
