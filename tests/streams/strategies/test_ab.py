"""The A/B step: one test at the planned time, and what becomes of each answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.streams.strategies.test_strategies import Told, standing
from tidegate.schemas.manifest.steps import Ab
from tidegate.streams.estimation import Moments, Pair
from tidegate.streams.strategies import ab
from tidegate.streams.strategies.base import ALL_BP, Kind, Move, Standing, Verdict

HOUR_MS = 3_600_000


def settings(**changes: Any) -> Ab:
    """An A/B step that looks for 2 percentage points."""
    written = {
        "mde": "2pp", "max_duration": "1h", "on_inconclusive": "stop", "min_samples": 50, **changes
    }  # fmt: skip
    return Ab.model_validate(written)


def rate(n: int, successes: float) -> Moments:
    """Moments of 0s and 1s."""
    mean = successes / n
    return Moments(n, mean, mean * (1.0 - mean) * n / (n - 1))


def stand(
    sides: Mapping[str, Pair], held_ms: int = 60_000, goal: Any = "increase", **changes: Any
) -> Standing:
    """A running step whose candidates were seen like that."""
    told = Told(sides={name: [pair] for name, pair in sides.items()}, goal=goal)
    candidates = tuple(sorted(sides))
    step = standing("ab", settings=settings(**changes), candidates=candidates, evidence=told)
    return replace(step, watermark_ms=step.since_ms + held_ms)


def moved(step: Standing) -> Move:
    """The move that is made."""
    move = ab.decide(step)
    assert move is not None
    return move


DUE = 8_000
"""Requests a side at which 2 points at a rate of a tenth are told from nothing."""


def test_nothing_is_tested_before_the_plan_is_fulfilled() -> None:
    """However clear it looks: a test that peeks is no test at its level."""
    early = stand({"challenger": Pair(rate(1_000, 100), rate(1_000, 160))})
    assert ab.decide(early) is None
    assert "of the evidence" in ab.outlook(early).progress


def test_a_better_candidate_is_the_winner() -> None:
    """Two-sided, at the planned time."""
    move = moved(stand({"challenger": Pair(rate(DUE, 800), rate(DUE, 1_000))}))
    assert (move.kind, move.verdict, move.winner) == (Kind.PASS, Verdict.PASS, "challenger")
    assert "challenger 0.125 against 0.1 in control" in move.reason
    assert move.evidence["ab"]["challenger"]["p_value"] < 0.001


def test_a_worse_candidate_leaves_control() -> None:
    """The other side of the same test."""
    move = moved(stand({"challenger": Pair(rate(DUE, 1_000), rate(DUE, 800))}))
    assert (move.kind, move.verdict, move.winner) == (Kind.FINISH, Verdict.FAIL, "champion")


def test_a_goal_to_decrease_turns_the_sides() -> None:
    """Fewer is better then."""
    sides = {"challenger": Pair(rate(DUE, 1_000), rate(DUE, 800))}
    assert moved(stand(sides, goal="decrease")).winner == "challenger"


@pytest.mark.parametrize(
    ("wish", "kind", "winner"),
    [("stop", Kind.STOP, ""), ("control", Kind.FINISH, "champion"), ("pass", Kind.PASS, "")],
)
def test_what_is_not_told_apart_goes_as_the_manifest_says(
    wish: str, kind: Kind, winner: str
) -> None:
    """There is no silent default, and the verdict stays inconclusive."""
    sides = {"challenger": Pair(rate(DUE, 800), rate(DUE, 801))}
    move = moved(stand(sides, on_inconclusive=wish))
    assert (move.kind, move.verdict, move.winner) == (kind, Verdict.INCONCLUSIVE, winner)


@pytest.mark.parametrize("wish", ["stop", "pass", "control"])
def test_without_data_nothing_is_passed(wish: str) -> None:
    """When time is over and there is too little, `pass` means a person as well."""
    sides = {"challenger": Pair(rate(49, 5), rate(49, 20))}
    assert ab.decide(stand(sides, on_inconclusive=wish)) is None
    move = moved(stand(sides, HOUR_MS, on_inconclusive=wish))
    assert move.verdict is Verdict.NO_DATA
    assert move.kind is (Kind.FINISH if wish == "control" else Kind.STOP)


def test_the_test_is_made_at_the_latest_when_time_is_over() -> None:
    """With what there is; a clear difference is found all the same."""
    sides = {"challenger": Pair(rate(1_000, 100), rate(1_000, 200))}
    assert moved(stand(sides, HOUR_MS)).winner == "challenger"


def test_of_several_better_ones_the_best_goes_on() -> None:
    """A/B/n: all that are better, corrected, then the largest gain."""
    control = rate(20_000, 2_000)
    sides = {
        "blue": Pair(control, rate(20_000, 2_500)),
        "green": Pair(control, rate(20_000, 2_700)),
        "red": Pair(control, rate(20_000, 2_000)),
    }
    assert moved(stand(sides)).winner == "green"


def test_several_candidates_are_corrected() -> None:
    """What alone would be significant is not among three."""
    near = Pair(rate(20_000, 2_000), rate(20_000, 2_125))
    none = Pair(rate(20_000, 2_000), rate(20_000, 2_000))
    assert moved(stand({"blue": near}, HOUR_MS)).winner == "blue"
    three = {"blue": near, "green": none, "red": none}
    assert moved(stand(three, HOUR_MS)).verdict is Verdict.INCONCLUSIVE


def test_a_relative_effect_is_one_of_controls_mean() -> None:
    """`mde: 20%` at a rate of 0.1 asks for as much as 2 points."""
    sides = {"challenger": Pair(rate(DUE, 800), rate(DUE, 1_000))}
    assert ab.decide(stand(sides, mde="20%")) is not None
    assert ab.decide(stand(sides, mde="5%")) is None
    nothing = {"challenger": Pair(rate(100, 0), rate(100, 50))}
    assert ab.decide(stand(nothing, mde="20%")) is None


def test_shares_are_equal_or_the_manifests() -> None:
    """What a lost candidate would have had goes to control."""
    equal = ab.start(settings(), "champion", ("a", "b"), "", 0)
    assert equal.weights == {"champion": 3_334, "a": 3_333, "b": 3_333}
    given = settings(weights={"champion": "50%", "a": "30%", "b": "20%"})
    assert ab.start(given, "champion", ("a",), "", 0).weights == {"champion": 7_000, "a": 3_000}
    assert sum(ab.start(given, "champion", ("a", "b"), "", 0).weights.values()) == ALL_BP


def test_errors_are_as_rare_and_power_as_high_as_was_said() -> None:
    """2,000 seeded runs each, looked at after every 500 requests until the step ends by itself:
    false findings at most 5 % and power at least 80 %, within three standard errors."""
    rng = np.random.default_rng(17)

    def found(lift: float) -> float:
        wins = 0
        for _ in range(2_000):
            control = rng.binomial(250, 0.10, 120).cumsum()
            candidate = rng.binomial(250, 0.10 + lift, 120).cumsum()
            for look in range(1, 121):
                n, at = 250 * look, look - 1
                sides = {"challenger": Pair(rate(n, control[at]), rate(n, candidate[at]))}
                move = ab.decide(stand(sides, mde="2pp"))
                if move is not None:
                    wins += move.verdict is not Verdict.INCONCLUSIVE
                    break
            else:
                pytest.fail("the step never ended")
        return wins / 2_000

    assert found(0.0) <= 0.05 + 3 * (0.05 * 0.95 / 2_000) ** 0.5
    assert found(0.02) >= 0.80 - 3 * (0.80 * 0.20 / 2_000) ** 0.5
