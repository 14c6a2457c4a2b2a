"""A state that an earlier version left at a barrier goes on in this one."""

from __future__ import annotations

import json
from typing import Any

from tests.streams.deciding.world import CANARY, Group, World, spec_of
from tidegate.schemas.canonical import canonical_json
from tidegate.streams.deciding.experiment_json import to_state

FULL = {"full": {"keep_previous": "60s"}}
ADDED = ("checks", "told", "closed", "waits", "approvals", "deployment", "viewed_ms")
"""What experiments did not have from the beginning."""


def running() -> World:
    """A canary with evidence."""
    world = World()
    world.apply({"canary": CANARY}, FULL)
    world.observe(Group("champion", 300, 3), Group("challenger", 300, 3))
    return world


def older(state: bytes) -> bytes:
    """The same as a version wrote it that knew of less."""
    found: dict[str, Any] = json.loads(state)
    del found["layers"], found["fleet"]
    for experiment in found["experiments"]:
        for name in ADDED:
            del experiment[name]
        ledger = experiment["ledger"]
        del ledger["rings"], ledger["trails"]
        for tally in ledger["tallies"].values():
            del tally["shadowed"]
    return canonical_json(found).encode()


def test_what_an_earlier_version_did_not_know_begins_empty() -> None:
    """The release goes on where it stood, with the evidence it had."""
    world = running()
    before = to_state(world.state)
    world.decider.load(older(world.decider.dump()))
    after = to_state(world.state)
    for name in ("phase", "step", "weights", "first_table", "previous", "version"):
        assert after[name] == before[name]
    assert after["ledger"]["tallies"] == before["ledger"]["tallies"]
    world.tick(61_000)
    world.observe(Group("champion", 300, 3), Group("challenger", 300, 3))
    assert world.last().action == "ADVANCE"


def test_what_runs_is_not_stopped_by_a_rule_that_came_later() -> None:
    """A manifest that would be refused today runs on; it is refused when it is applied."""
    refused = spec_of({"canary": CANARY}, {"recreate": {}}, inclusion="50%")
    world = running()
    found = json.loads(world.decider.dump())
    found["experiments"][0]["spec"] = refused.to_json()
    world.decider.load(canonical_json(found).encode())
    assert world.state.spec == refused
    world.order("APPLY", refused, experiment="another")
    assert world.last().action == "REFUSED"
