"""`tidegate schemas`: what a registry must know before clients frame their events for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from tidegate.agents import registry_client
from tidegate.agents.bindings import Recorded, bind, recorded_bindings
from tidegate.agents.commands import schemas
from tidegate.agents.commands.options import EXIT_DONE, EXIT_NO, Output
from tidegate.agents.registry_client import framing
from tidegate.agents.settings import Settings
from tidegate.schemas.catalogue import latest
from tidegate.schemas.errors import DefinitionError

SETTINGS = Settings(schema_registry={"url": "mock://"}, prefix="shop.")


@pytest.fixture(autouse=True)
def one_registry(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client's own in-memory registry, the same for every command."""
    client = SchemaRegistryClient.new_client({"url": "mock://"})
    monkeypatch.setattr(schemas, "new_registry_client", lambda settings: client)
    monkeypatch.setattr(registry_client, "new_registry_client", lambda settings: client)
    return client


def test_check_register_check(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 before, 0 after; clients then frame with these very ids; twice changes nothing."""
    assert schemas.run_check(SETTINGS, Output.json) == EXIT_NO
    assert "tidegate schemas register" in capsys.readouterr().out
    with pytest.raises(DefinitionError, match="tidegate schemas register"):
        framing(SETTINGS)
    for _ in range(2):
        assert schemas.run_register(SETTINGS, Output.json) == EXIT_DONE
        rows = json.loads(capsys.readouterr().out)
        assert [row["subject"] for row in rows] == [
            "shop.predictions-value", "shop.shadow-predictions-value", "shop.outcomes-value"
        ]  # fmt: skip
        assert framing(SETTINGS) == {
            row["subject"].removeprefix("shop.").removesuffix("-value"): row["id"] for row in rows
        }
    assert schemas.run_check(SETTINGS, Output.json) == EXIT_DONE


def test_without_a_registry_there_is_nothing_to_ask() -> None:
    """The commands say what to set; clients write single-object frames."""
    with pytest.raises(DefinitionError, match="schema_registry"):
        schemas.run_check(replace(SETTINGS, schema_registry={}), Output.json)
    assert framing(replace(SETTINGS, schema_registry={})) == {}


def test_a_registry_that_is_away_keeps_nobody_from_serving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events go out as single objects, which every reader takes too."""

    class Away:
        def lookup_schema(self, *_: object) -> None:
            raise ConnectionError("refused")

    monkeypatch.setattr(registry_client, "new_registry_client", lambda settings: Away())
    assert framing(SETTINGS) == {}


def test_an_id_that_nobody_knows_is_given_up_for_good(settings: Settings) -> None:
    """Recorded as a binding to nothing, so that an auditor refuses its events as well."""
    for _ in range(2):
        assert schemas.run_refuse(settings, 4711, Output.table) == EXIT_DONE
    assert recorded_bindings(settings) == {4711: b""}


def test_an_id_that_means_something_is_not_given_up(settings: Settings) -> None:
    """Events were read with it: they cannot become unreadable afterwards."""
    Recorded(settings).write(bind(4712, latest("outcome").text))
    with pytest.raises(DefinitionError, match="4712 is bound to"):
        schemas.run_refuse(settings, 4712, Output.table)
    with pytest.raises(DefinitionError, match="no schema id"):
        schemas.run_refuse(settings, -1, Output.table)
