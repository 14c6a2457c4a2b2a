"""The local breaker: cuts what fails, never control, and tries again later."""

from __future__ import annotations

import random

from tidegate.agents.client.breaker import (
    CONSECUTIVE_ERRORS,
    CUT_SECONDS,
    Breaker,
)


def calls(breaker: Breaker, variant: str, errors: list[bool], now: float = 0.0) -> list[bool]:
    """What the breaker says after each call."""
    return [breaker.record("e", variant, "a", error, now) for error in errors]


def test_five_failures_in_a_row_cut() -> None:
    """A candidate that always raises is cut with the fifth call, once."""
    breaker = Breaker()
    assert calls(breaker, "b", [True] * 7) == [False] * 4 + [True, False, False]
    assert breaker.cut("e", 1.0) == ("b",)
    assert breaker.experiments() == ("e",)
    assert breaker.cut("other", 1.0) == ()


def test_a_success_in_between_starts_the_row_anew() -> None:
    """Four failures, a success, four failures: too few calls to say more."""
    assert not any(calls(Breaker(), "b", [True] * 4 + [False] + [True] * 4))


def test_a_share_far_above_controls_cuts() -> None:
    """One failure in five, control sound: cut after twenty calls at the latest."""
    breaker = Breaker()
    calls(breaker, "a", [False] * 100)
    assert any(calls(breaker, "b", [True, False, False, False, False] * 5)[:22])


def test_a_candidate_like_control_is_left_alone() -> None:
    """Where control fails as often, nobody is cut: it is not the candidate's fault."""
    breaker, rng = Breaker(), random.Random(1)
    for _ in range(3_000):
        for variant in "ab":
            assert not breaker.record("e", variant, "a", rng.random() < 0.15, 0.0)


def test_control_is_never_cut() -> None:
    """Somebody has to answer."""
    breaker = Breaker()
    assert not any(calls(breaker, "a", [True] * 50))
    assert breaker.cut("e", 0.0) == ()


def test_after_a_while_it_is_tried_again_and_cut_for_longer() -> None:
    """A cut ends after a minute; failing again, the next lasts two."""
    breaker = Breaker()
    calls(breaker, "b", [True] * CONSECUTIVE_ERRORS)
    assert breaker.cut("e", CUT_SECONDS - 1) == ("b",)
    assert breaker.cut("e", CUT_SECONDS) == ()
    assert breaker.experiments() == ()
    assert calls(breaker, "b", [True] * CONSECUTIVE_ERRORS, CUT_SECONDS)[-1]
    assert breaker.cut("e", 3 * CUT_SECONDS - 1) == ("b",)
    assert breaker.cut("e", 3 * CUT_SECONDS) == ()


def test_a_new_generation_is_a_new_trial() -> None:
    """Other models may stand behind the same names."""
    breaker = Breaker()
    calls(breaker, "b", [True] * CONSECUTIVE_ERRORS)
    breaker.forget("e")
    assert breaker.cut("e", 0.0) == ()


def test_the_long_past_counts_for_less() -> None:
    """After 10,000 sound calls, a candidate that begins to fail one call in five is still cut."""
    breaker = Breaker()
    calls(breaker, "b", [False] * 10_000)
    assert any(calls(breaker, "b", [True, False, False, False, False] * 60))
