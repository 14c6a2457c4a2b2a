"""`tidegate up`: broker, topics, then the worker on them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tidegate.agents import supervisor
from tidegate.agents.commands.up import run_up
from tidegate.agents.settings import Settings
from tidegate.agents.topics import check_topics
from tidegate.schemas.errors import DefinitionError, Unreachable


def test_the_worker_runs_on_a_broker_with_topics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker gets settings of a running broker with all topics; its exit code is passed on."""
    used: list[Settings] = []

    def stand_in(settings: Settings, log_level: int) -> int:
        used.append(settings)
        assert log_level == logging.WARNING
        assert check_topics(settings) == []
        return 7

    monkeypatch.setattr(supervisor, "supervise", stand_in)
    told: list[str] = []
    assert run_up(Settings(state_dir=tmp_path), "embedded", told.append) == 7
    assert f"  export TIDEGATE_BOOTSTRAP={used[0].bootstrap}" in told
    # The broker ends with the command.
    with pytest.raises(Unreachable):
        check_topics(used[0])


def test_an_unknown_broker_starts_nothing(tmp_path: Path) -> None:
    """A misspelt broker is refused with the names there are."""
    with pytest.raises(DefinitionError, match="embedded, local, container"):
        run_up(Settings(state_dir=tmp_path), "lokal", print)
