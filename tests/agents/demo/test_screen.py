"""What the demo shows, on a terminal and piped."""

from __future__ import annotations

import io

from rich.console import Console

from tidegate.agents.demo.screen import Screen, answers, sparkline


def test_piped_there_are_no_escape_codes() -> None:
    """Output that is not a terminal's is plain lines, nothing that moves."""
    output = io.StringIO()
    with Screen(Console(file=output, highlight=False)) as screen:
        screen.say("Broker: up", "bold")
        screen.chapter(1, 10, "a title", "a sentence")
    assert output.getvalue() == "Broker: up\n✓ 1 of 10  a title: a sentence\n"


def test_shares_become_a_line_of_blocks() -> None:
    """Zero is blank, everything a full block; a long history is thinned out to fit."""
    assert sparkline([0, 2_000, 5_000, 10_000]) == " ▂▄█"
    assert sparkline([0] * 60 + [10_000] * 30, cells=3) == "  █"


def test_users_answers_are_counted_by_variant() -> None:
    """Right answers are a share of the variant's requests; those without requests are left out."""
    line = answers({"requests": 12, "unanswered": 1, "a requests": 10, "a correct": 7}).plain
    assert line == "users  12 requests answered, 1 not; right: a 70 %"
    assert answers({}).plain == "users  0 requests answered, 0 not"
