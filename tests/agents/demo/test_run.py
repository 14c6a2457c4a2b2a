"""What the demo makes of an audit's report."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.agents.demo.run import said_of


def report(equal: bool = True, **recorded: int) -> dict[str, Any]:
    """A report in which as many records of each topic came out equal as these, of four."""
    counts = {"observations": 4, "decisions": 4, "routing": 4, **recorded}
    compared = {name: {"equal": count, "recorded": 4} for name, count in counts.items()}
    return {"equal": equal, "records": 1_234, "compared": compared}


def test_an_audit_that_found_everything_equal_is_said() -> None:
    """The sentence names what was read and what came out the same."""
    expected = "from 1,234 records, byte for byte: 4 observations, 4 decisions, 4 routing"
    assert said_of(report()) == expected


@pytest.mark.parametrize(
    "found", [report(equal=False), report(decisions=3), report(observations=0), report(routing=1)]
)
def test_anything_less_is_not_told_as_success(found: dict[str, Any]) -> None:
    """A difference, or a topic of which not everything was compared, is no proof."""
    assert said_of(found) == ""


def test_an_audit_of_nothing_proves_nothing() -> None:
    """Equal because there was nothing to compare is not equal."""
    empty = report()
    for each in empty["compared"].values():
        each.update(equal=0, recorded=0)
    assert said_of(empty) == ""
