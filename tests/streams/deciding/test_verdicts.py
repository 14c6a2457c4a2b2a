"""The page docs/verdicts.md is the test of series of checks; and every pair of verdicts."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.streams.deciding.test_guarding import CHECKED, UNSURE, check, sound
from tests.streams.deciding.test_judging import FULL, bad, canary
from tests.streams.deciding.world import CANARY, ERRORS, Group, World

PAGE = Path(__file__).parents[3] / "docs" / "verdicts.md"
ROW = re.compile(
    r"^\| \d+ \| ((?:[SFIN] )+)\| (.+?) \| (.+?) \| (\w+) (\d+) \| (.+?) \|(.*)\|$", re.M
)
ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))


def measured(letter: str) -> tuple[Group, ...]:
    """Requests of which a check says just this."""
    found: tuple[Group, ...] = {"S": sound(), "F": bad(), "I": UNSURE, "N": ()}[letter]
    return found


@pytest.mark.parametrize(("series", "theirs", "they_say", "word", "limit", "ours", "why"), ROWS)
def test_series_of_checks(
    series: str, theirs: str, they_say: str, word: str, limit: str, ours: str, why: str
) -> None:
    """What Argo and Flagger do is told; what Tidegate does is done, and each difference argued."""
    world = World()
    rule = {**CHECKED, "checks": {"every": "10s", word: int(limit)}}
    world.apply({"canary": {**CANARY, "hold": "1h"}}, FULL, guardrails=[rule])
    broken = 0
    for number, letter in enumerate(series.split(), start=1):
        check(world, *measured(letter))
        if world.last().action == "PAUSE" and not broken:
            broken = number
    assert ours == (f"breach at {broken}" if broken else "goes on")
    assert bool(why.strip()) or they_say in ("running", ours)


def test_all_rows_of_the_page_are_read() -> None:
    """A row that the pattern misses would be a promise nobody keeps; each number is argued."""
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index("| row | series |") :].split("\n\n")[0]
    assert len(ROWS) == len(table.splitlines()) - 2 >= 15
    for why in {row[6].strip() for row in ROWS} - {""}:
        assert re.search(rf"^{why}\. ", page, re.M)


OUTCOME = {"metric": "conversion", "compare": "control", "worse_by": "5pp", "min_samples": 200}
CONVERTED: dict[str, tuple[int, int, int]] = {
    "S": (10_000, 5_000, 5_000), "F": (600, 300, 60), "I": (300, 150, 140), "N": (100, 50, 0),
}  # fmt: skip
FAILED: dict[str, tuple[Group, ...]] = {
    "S": sound(), "F": bad(), "I": UNSURE,
    "N": (Group("champion", 99), Group("challenger", 99, 99)),
}  # fmt: skip
ANSWERS = ("rollback", "step_back", "pause", "alert")


def both(one: str, other: str) -> tuple[Group, ...]:
    """Facts on which two guardrails say one thing each."""
    requests, control, candidate = CONVERTED[other]
    return (
        *FAILED[one],
        Group("champion", requests, converted=control, closed=True),
        Group("challenger", requests, converted=candidate, closed=True),
    )


@pytest.mark.parametrize(("one", "other"), list(product("SFIN", "SFIN")))
def test_of_every_pair_of_verdicts_the_worse_counts(one: str, other: str) -> None:
    """Whatever two guardrails say, and whatever is to be done about it.

    A failure does the gravest thing that any failing one asks for; without one, missing data holds
    the step, but for a guardrail that only tells, and only then is it passed.
    """
    for first, second in product(ANSWERS, ANSWERS):
        rules: list[dict[str, Any]] = [
            {**ERRORS, "on_breach": first}, {**OUTCOME, "on_breach": second},
        ]  # fmt: skip
        world = canary(guardrails=rules)
        world.tick(61_000)
        world.observe(*both(one, other))
        said = {item["metric"]: item["verdict"] for item in world.view()["guardrails"]}
        words = {"S": "PASS", "F": "FAIL", "I": "INCONCLUSIVE", "N": "NO_DATA"}
        if len(world.decisions()) == 1 or world.last().action in ("ADVANCE", "HOLD"):
            assert said == {"errors": words[one], "conversion": words[other]}
        asked = [answer for letter, answer in ((one, first), (other, second)) if letter == "F"]
        # Below the errors' minimum the share itself has too few requests, whoever is to be told.
        is_missing = one == "N" or (other == "N" and second != "alert")
        assert world.decisions()[1].action == _first(asked, is_missing)


def _first(asked: list[str], is_missing: bool) -> str:
    """What the first decision after the manifest must be."""
    if "rollback" in asked or "step_back" in asked:
        return "ROLLBACK"  # nothing is below the first share
    if "pause" in asked:
        return "PAUSE"
    return "HOLD" if asked or is_missing else "ADVANCE"
