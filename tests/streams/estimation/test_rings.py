"""Statistics ring by ring: every request in the ring that clients would find for it."""

from __future__ import annotations

import json

import pytest

from tests.streams.deciding.world import NAME, Group, batch_of, spec_of
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.estimation import Ledger, plan_of

EU, US = (("region", "eu"),), (("region", "us"),)
RINGS = [
    {"name": "europe", "when": {"region": "eu"}},
    {"name": "america", "when": {"region": "us"}},
]


def spec_with(*rings: object) -> ExperimentSpec:
    """A release of rings."""
    return spec_of({"rings": {"rings": rings or RINGS, "hold": "60s"}})


def filled(spec: ExperimentSpec) -> Ledger:
    """A ledger that has seen two regions and one request from nowhere."""
    ledger = Ledger(plan_of(NAME, 1, spec))
    groups = [
        Group("champion", 100, 1, attributes=EU), Group("challenger", 50, 5, attributes=EU),
        Group("champion", 10, 0, attributes=US), Group("challenger", 20, 4, attributes=US),
        Group("challenger", 7, 7), Group("challenger", 3, 0, attributes=EU, reason="EXCLUDED"),
        Group("challenger", 40, converted=10, closed=True, attributes=US),
        Group("challenger", 30, converted=3, closed=True, attributes=EU),
        Group("challenger", 99, attributes=EU, experiment="other"),
        Group("challenger", 99, attributes=EU, generation=2),
    ]  # fmt: skip
    ledger.observe(batch_of(groups, 0, 0, 1_000, 3))
    return ledger


def test_each_ring_has_its_own_requests() -> None:
    """Exposures and outcomes go where their attributes say; who is in no ring goes nowhere."""
    ledger = filled(spec_with())
    europe, america = ledger.rings.by_name["europe"], ledger.rings.by_name["america"]
    assert [europe.learnt(name) for name in ("champion", "challenger")] == [100, 50]
    assert [america.learnt(name) for name in ("champion", "challenger")] == [10, 20]
    assert ledger.learnt("challenger") == 50 + 20 + 7
    for ring, n, errors, closed, converted in (
        (europe, 50, 5, 30, 3), (america, 20, 4, 40, 10)
    ):  # fmt: skip
        assert ring.moments("errors", "challenger").n == n
        assert ring.moments("errors", "challenger").mean == pytest.approx(errors / n)
        assert ring.moments("conversion", "challenger").n == closed
        assert ring.moments("conversion", "challenger").mean == pytest.approx(converted / closed)


def test_the_first_ring_that_fits_has_a_request() -> None:
    """As clients route it."""
    rings = [{"name": "all", "when": {"region": ["eu", "us"]}}, *RINGS, {"name": "others"}]
    ledger = filled(spec_with(*rings))
    found = {name: ring.learnt("challenger") for name, ring in ledger.rings.by_name.items()}
    assert found == {"all": 70, "europe": 0, "america": 0, "others": 7}


def test_rings_survive_a_checkpoint() -> None:
    """Through JSON, to the last bit."""
    ledger = filled(spec_with())
    state = json.loads(json.dumps(ledger.to_state()))
    restored = Ledger.from_state(plan_of(NAME, 1, spec_with()), state)
    assert restored.to_state() == ledger.to_state()
    assert restored.rings.by_name["europe"].learnt("challenger") == 50


def test_an_amended_plan_keeps_the_rings_statistics_while_they_are_the_same() -> None:
    """Another hold is no other ring; other rings start empty."""
    ledger = filled(spec_with())
    ledger.amend(plan_of(NAME, 1, spec_with()))
    assert ledger.rings.by_name["europe"].learnt("challenger") == 50
    ledger.amend(plan_of(NAME, 1, spec_with({"name": "europe"})))
    assert ledger.rings.by_name["europe"].learnt("challenger") == 0


def test_without_rings_there_is_nothing_to_keep() -> None:
    """Most experiments pay nothing for it."""
    assert filled(spec_of()).to_state()["rings"] == {}
