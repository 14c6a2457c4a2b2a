"""Confirmations: who is live, and what they said they run."""

from __future__ import annotations

import json
from typing import Any

from tidegate.schemas.events import Applied
from tidegate.streams.deciding.clients import (
    CLIENTS_MAX,
    LIVE_MS,
    REMEMBERED_MS,
    Clients,
    Confirmation,
)


def hear(clients: Clients, name: str, at_ms: int, kind: str = "CHANGE", **word: Any) -> None:
    """A client's word about the experiment, generation 1, at a log time."""
    fields: dict[str, Any] = {
        "client_id": name,
        "instance": "host",
        "experiment": "ranker",
        "epoch": 0,
        "version": 0,
        "generation": 1,
        "applied_at": at_ms,
        "kind": kind,
    }
    fields.update(word)
    clients.hear(Applied(**fields), fields["experiment"] in ("ranker", "other"), at_ms)


def said(clients: Clients, name: str, version: int, at_ms: int, *rolled_back: str) -> None:
    """A client says that it runs a version of generation 1."""
    hear(clients, name, at_ms, version=version, rolled_back=rolled_back)


def beat(clients: Clients, name: str, at_ms: int) -> None:
    """A client says it is there."""
    hear(clients, name, at_ms, "HEARTBEAT", experiment="")


def test_live_means_heard_within_fifteen_seconds() -> None:
    """A silent client keeps nobody waiting."""
    clients = Clients()
    said(clients, "a", 3, 1_000)
    assert clients.applied("ranker", 0, 3, 900, 1_000 + LIVE_MS - 1).live == 1
    assert clients.applied("ranker", 0, 3, 900, 1_000 + LIVE_MS).live == 0
    beat(clients, "a", 20_000)
    assert clients.applied("ranker", 0, 3, 900, 20_001).confirmed == 1


def test_who_has_not_applied_is_named() -> None:
    """An older version, or no word about the experiment, is no confirmation."""
    clients = Clients()
    said(clients, "b", 2, 1_000)
    beat(clients, "a", 1_000)
    said(clients, "a", 3, 1_250)
    beat(clients, "c", 1_000)
    assert clients.applied("ranker", 0, 3, 1_000, 1_300) == Confirmation(3, 1, ("b", "c"), 250)


def test_the_time_taken_is_that_of_the_first_word() -> None:
    """What a client says later, of its breaker or again, does not make it slower."""
    clients = Clients()
    beat(clients, "a", 900)
    said(clients, "a", 3, 1_250)
    hear(clients, "a", 9_000, version=3, breaker=("bad",))
    said(clients, "a", 3, 12_000)
    assert clients.applied("ranker", 0, 3, 1_000, 12_100) == Confirmation(1, 1, (), 250)
    again = Clients.from_state(json.loads(json.dumps(clients.to_state())))
    assert again.applied("ranker", 0, 3, 1_000, 12_100).slowest_ms == 250


def test_who_started_after_the_decision_took_no_time_over_it() -> None:
    """It confirms, and says nothing about how fast a decision reaches those who serve."""
    clients = Clients()
    said(clients, "late", 3, 93_000)
    assert clients.applied("ranker", 0, 3, 1_000, 93_100) == Confirmation(1, 1, (), None)
    beat(clients, "early", 93_000)
    said(clients, "early", 4, 94_250)
    assert clients.applied("ranker", 0, 4, 94_000, 94_300) == Confirmation(2, 1, ("late",), 250)


def test_a_later_epoch_confirms() -> None:
    """(epoch, version) orders everything a client sees."""
    clients = Clients()
    hear(clients, "a", 5, epoch=1)
    assert clients.applied("ranker", 0, 9, 5, 6).confirmed == 1


def test_a_rollback_is_confirmed_by_the_record_or_by_the_table() -> None:
    """Either holds the variant at 0; a rollback of another generation does not."""
    clients = Clients()
    said(clients, "by-record", 4, 10, "bad")
    said(clients, "by-table", 5, 10)
    said(clients, "not-yet", 4, 10)
    hear(clients, "older", 10, version=4, generation=0, rolled_back=("bad",))
    found = clients.rolled_back("ranker", 1, "bad", 0, 5, 10, 20)
    assert found == Confirmation(4, 2, ("not-yet", "older"), 0)


def test_goodbye_ends_the_waiting() -> None:
    """A client that left confirms nothing and misses nothing."""
    clients = Clients()
    said(clients, "a", 1, 5)
    hear(clients, "a", 6, "GOODBYE")
    hear(clients, "never-seen", 6, "GOODBYE")
    assert clients.applied("ranker", 0, 9, 5, 6) == Confirmation(0, 0, (), None)


def test_words_about_unknown_experiments_are_heartbeats() -> None:
    """No state for what is not known."""
    clients = Clients()
    hear(clients, "a", 5, experiment="unknown", version=9)
    assert clients.to_state()[0][-1] == {}
    assert len(clients) == 1


def test_silent_clients_are_forgotten_by_log_time() -> None:
    """Memory follows who speaks."""
    clients = Clients()
    said(clients, "a", 1, 0)
    said(clients, "b", 1, 10)
    said(clients, "a", 2, 20)
    clients.forget(10 + REMEMBERED_MS)
    assert len(clients) == 1
    clients.forget(20 + REMEMBERED_MS)
    assert len(clients) == 0


def test_the_number_of_clients_is_bounded() -> None:
    """The one silent longest goes first."""
    clients = Clients()
    for number in range(CLIENTS_MAX + 1):
        beat(clients, f"c{number}", number)
    assert len(clients) == CLIENTS_MAX
    assert clients.to_state()[0][0] == "c1"


def test_clients_that_are_not_well_are_named() -> None:
    """Only those that serve the experiment, and are live."""
    clients = Clients()
    hear(clients, "well", 100, health="OK")
    hear(clients, "ill", 100, health="DEGRADED")
    hear(clients, "cut", 100, health="OK", breaker=("bad",))
    hear(clients, "elsewhere", 100, health="DEGRADED", experiment="other")
    assert clients.degraded("ranker", 200) == ["cut", "ill"]
    assert clients.degraded("ranker", 100 + LIVE_MS) == []
    assert clients.unwell("ranker", 200) == [
        {"client": "cut", "instance": "host", "health": "OK", "breaker": ["bad"]},
        {"client": "ill", "instance": "host", "health": "DEGRADED", "breaker": []},
    ]


def test_state_goes_through_json() -> None:
    """Equal state, equal words, order of last word included."""
    clients = Clients()
    said(clients, "b", 1, 5, "bad")
    said(clients, "a", 2, 6)
    said(clients, "b", 3, 7)
    again = Clients.from_state(json.loads(json.dumps(clients.to_state())))
    assert again.to_state() == clients.to_state()
    assert [item[0] for item in again.to_state()] == ["a", "b"]
