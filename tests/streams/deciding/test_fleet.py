"""Instances as the decider remembers them: last words, bounded, forgotten by log time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.streams.deciding.world import NAME, START_MS
from tidegate.schemas.events import Applied, ModelServer
from tidegate.streams.deciding import fleet as fleets
from tidegate.streams.deciding.clients import LIVE_MS
from tidegate.streams.deciding.fleet import REMEMBERED_MS, Fleet

OLD = ModelServer(model="ranker", version="v1", health="OK")
NEW = ModelServer(model="ranker", version="v2", health="STARTING")


def word(instance: str, *servers: ModelServer, **changes: Any) -> Applied:
    """What an instance says."""
    fields: dict[str, Any] = {
        "client_id": f"agent-{instance}", "instance": instance, "experiment": NAME, "epoch": 0,
        "version": 0, "generation": 1, "applied_at": 0, "kind": "HEARTBEAT", "servers": servers,
    }  # fmt: skip
    return Applied(**{**fields, **changes})


def test_the_last_word_counts_and_only_news_is_new() -> None:
    """Heartbeats that say the same wake nobody; a changed health, answer or process does."""
    fleet = Fleet()
    assert fleet.hear(word("i1", OLD), START_MS)
    assert not fleet.hear(word("i1", OLD), START_MS + 1_000)
    assert fleet.hear(word("i1", OLD, NEW), START_MS + 2_000)
    assert fleet.hear(word("i1", OLD, NEW, command_id="c", outcome="DONE"), START_MS + 3_000)
    assert fleet.hear(word("i1", OLD, NEW, client_id="another"), START_MS + 4_000)
    [found] = fleet.of(NAME, START_MS + 4_000)
    assert found.servers == {("ranker", "v1"): "OK", ("ranker", "v2"): "STARTING"}
    assert (found.name, found.heard_at_ms, found.answered) == ("i1", START_MS + 4_000, "")


def test_live_is_by_log_time_and_coming_back_is_news() -> None:
    """15 s of silence, not more."""
    fleet = Fleet()
    fleet.hear(word("i1", OLD), START_MS)
    assert fleet.of(NAME, START_MS + LIVE_MS - 1)[0].live
    assert not fleet.of(NAME, START_MS + LIVE_MS)[0].live
    assert fleet.hear(word("i1", OLD), START_MS + LIVE_MS)


def test_who_says_goodbye_is_gone_unless_another_took_the_place() -> None:
    """The goodbye of a process that was replaced is not the instance's."""
    fleet = Fleet()
    fleet.hear(word("i1", OLD), START_MS)
    fleet.hear(word("i1", OLD, client_id="successor"), START_MS)
    assert not fleet.hear(word("i1", kind="GOODBYE"), START_MS)
    assert len(fleet) == 1
    assert fleet.hear(word("i1", kind="GOODBYE", client_id="successor"), START_MS)
    assert fleet.of(NAME, START_MS) == ()
    assert not fleet.hear(word("i9", kind="GOODBYE"), START_MS)


def test_the_silent_are_forgotten_by_log_time() -> None:
    """Ten minutes after the last word, whoever spoke first goes first."""
    fleet = Fleet()
    fleet.hear(word("i1", OLD), START_MS)
    fleet.hear(word("i2", OLD), START_MS + 1)
    fleet.forget(START_MS + REMEMBERED_MS)
    assert [item.name for item in fleet.of(NAME, START_MS)] == ["i2"]


def test_memory_has_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one heard longest ago makes room."""
    monkeypatch.setattr(fleets, "INSTANCES_MAX", 2)
    fleet = Fleet()
    for name in ("i1", "i2", "i1", "i3"):
        fleet.hear(word(name, OLD), START_MS)
    assert [item.name for item in fleet.of(NAME, START_MS)] == ["i1", "i3"]


def test_experiments_have_instances_of_their_own() -> None:
    """One place may serve several releases; each word is about one."""
    fleet = Fleet()
    fleet.hear(word("i1", OLD), START_MS)
    fleet.hear(word("i1", NEW, experiment="other"), START_MS)
    assert fleet.of(NAME, START_MS)[0].servers == {("ranker", "v1"): "OK"}
    assert fleet.of("other", START_MS)[0].servers == {("ranker", "v2"): "STARTING"}
    assert fleet.of("unknown", START_MS) == ()


def test_state_survives_a_checkpoint_in_its_order() -> None:
    """What is dumped and loaded is the same, and forgets in the same order."""
    fleet = Fleet()
    fleet.hear(word("i2", OLD, NEW, command_id="c", outcome="FAILED", detail="why"), START_MS)
    fleet.hear(word("i1"), START_MS + 5)
    again = Fleet.from_state(json.loads(json.dumps(fleet.to_state())))
    assert again.to_state() == fleet.to_state()
    assert again.of(NAME, START_MS) == fleet.of(NAME, START_MS)
