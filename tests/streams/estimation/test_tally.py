"""Tallies: plain counts with a state."""

from __future__ import annotations

from tidegate.streams.estimation.tally import ShadowTally, Tally


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
