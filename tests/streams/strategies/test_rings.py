"""Rings: the same share, one part of the population after another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.streams.strategies.test_strategies import SETTINGS, Told, standing
from tidegate.schemas.manifest.steps import Rings
from tidegate.streams.strategies import rings
from tidegate.streams.strategies.base import Kind, Verdict


@pytest.mark.parametrize(
    ("held_ms", "increment", "requests", "kind", "verdict"),
    [
        (59_999, 0, 10_000, None, None),
        (60_000, 0, 50, Kind.INCREMENT, Verdict.PASS),
        (60_000, 1, 50, Kind.PASS, Verdict.PASS),
        (60_000, 0, 49, Kind.HOLD, Verdict.INCONCLUSIVE),
        (60_000, 0, 0, Kind.HOLD, Verdict.NO_DATA),
    ],
)
def test_a_ring_needs_time_and_requests_of_its_own(
    held_ms: int, increment: int, requests: int, kind: Kind | None, verdict: Verdict | None
) -> None:
    """Both; what other rings have does not count."""
    name = ("staff", "others")[increment]
    other = ("others", "staff")[increment]
    told = Told({f"{name}/challenger": requests, f"{other}/challenger": 9_999, "challenger": 9_999})
    move = rings.decide(
        standing("rings", watermark_ms=1_000 + held_ms, increment=increment, evidence=told)
    )
    assert (move.kind if move else None, move.verdict if move else None) == (kind, verdict)
    assert move is None or f"ring {name}" in move.reason


@pytest.mark.parametrize(("increment", "kind"), [(0, Kind.INCREMENT), (1, Kind.PASS)])
def test_a_closed_ring_is_not_waited_for(increment: int, kind: Kind) -> None:
    """Its candidates get no request any more: the next ring starts, or the release goes on."""
    at = replace(standing("rings", increment=increment), closed=("staff", "others")[increment:])
    move = rings.decide(at)
    assert move is not None
    assert (move.kind, move.verdict, move.needs_data) == (kind, Verdict.FAIL, False)


def test_every_ring_gets_the_same_share() -> None:
    """So requests of all open rings can be compared within one table; never above half."""
    shares = [rings.start(SETTINGS["rings"], "champion", ("a", "b"), "", each) for each in (0, 1)]
    assert shares[0] == shares[1]
    assert shares[0].weights == {"champion": 7_000, "a": 1_500, "b": 1_500}
    bold = Rings.model_validate({"rings": [{"name": "all"}], "weight": "80%", "hold": "1s"})
    assert rings.start(bold, "champion", ("a",), "", 0).weights["a"] == 5_000


def test_people_read_the_ring() -> None:
    """Which one, of how many, and what it waits for."""
    outlook = rings.outlook(standing("rings"))
    assert outlook.progress == "ring staff (1 of 2) held 0 s of 1:00 min"
    assert outlook.following.startswith("1:00 min are held in staff, 50 requests counted in it (0")
