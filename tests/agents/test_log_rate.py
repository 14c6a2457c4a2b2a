"""Floods of log lines."""

from __future__ import annotations

import logging

from tidegate.agents.log_rate import RateLimit


def line(text: str) -> logging.LogRecord:
    """A log line."""
    return logging.LogRecord("tidegate.kafka", logging.ERROR, "", 0, text, (), None)


def test_a_flood_of_one_kind_of_line_is_held_back() -> None:
    """Lines that differ in numbers only are one kind, of which one passes at a time."""
    limit = RateLimit(seconds=3600)
    assert limit.filter(line("broker 1 is away"))
    assert not limit.filter(line("broker 2 is away"))
    assert limit.filter(line("broker 1 is back"))


def test_the_next_line_counts_those_held_back() -> None:
    """What was not shown is not hidden: the next line of the kind says how many there were."""
    limit = RateLimit(seconds=0)
    limit._dropped["broker # is away"] = 7
    passed = line("broker 1 is away")
    assert limit.filter(passed)
    assert passed.getMessage() == "broker 1 is away (7 more like it)"
