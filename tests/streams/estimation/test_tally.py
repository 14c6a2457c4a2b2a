"""Tallies: plain counts with a state."""

from __future__ import annotations

from tidegate.streams.estimation.tally import ShadowTally, Tally, conservation


def test_tallies_come_back_as_they_were() -> None:
    """State holds every count, and the copy shares nothing with the original."""
    tally = Tally(exposures=3, reasons={"SPLIT": 3})
    copy = Tally()
    copy.load(tally.to_state())
    assert copy == tally
    copy.reasons["SPLIT"] += 1
    assert tally.reasons == {"SPLIT": 3}


def test_disagreement_leaves_out_what_cannot_be_compared() -> None:
    """Pairs without a comparable answer neither agree nor disagree."""
    assert ShadowTally(pairs=10).disagreement is None
    assert ShadowTally(pairs=10, agree=3, disagree=1).disagreement == 0.25


def test_input_is_the_sum_of_its_classes() -> None:
    """Per stream; a request that was given up at a cap is open no longer, repeats of a prediction
    are input of their own, and classes without records are not told."""
    tally = Tally(exposures=10, closed=6, matched=4)
    tally.irregular |= {"prediction.expired": 1, "prediction.duplicate": 2, "outcome.late": 3}
    found = conservation(tally, ShadowTally(pairs=5))
    assert found == {
        "prediction": {"input": 12, "counted": 6, "pending": 3, "duplicate": 2, "expired": 1},
        "shadow": {"input": 5, "counted": 5},
        "outcome": {"input": 7, "counted": 4, "late": 3},
    }
    for classes in found.values():
        assert classes.pop("input") == sum(classes.values())


def test_irregular_records_by_class() -> None:
    """Over all streams, as guardrails' evidence and the health line tell them."""
    tally = Tally()
    tally.irregular |= {"prediction.duplicate": 2, "outcome.duplicate": 3}
    assert tally.irregular_by_class() == {
        "late": 0, "orphan": 0, "duplicate": 5, "conflict": 0, "expired": 0
    }  # fmt: skip


def test_shadow_tallies_come_back_as_they_were() -> None:
    """State holds every count and sample; outcomes alone can be forgotten."""
    tally = ShadowTally(pairs=10, agree=3, disagree=1, failures=2, scored=4)
    for number, sample in enumerate((tally.latency, tally.score, tally.squared_error), start=1):
        sample.merge(number, number, 0.5 * number, 2.0)
    copy = ShadowTally()
    copy.load(tally.to_state())
    assert copy.to_state() == tally.to_state()
    copy.forget_outcomes()
    assert (copy.scored, copy.squared_error.moments().n) == (0, 0.0)
    assert copy.to_state()[:4] == tally.to_state()[:4]
    assert copy.score.moments() == tally.score.moments()
