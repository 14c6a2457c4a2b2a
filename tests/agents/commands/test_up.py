"""`tidegate up`: broker, topics, then the worker on them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tidegate.agents import supervisor
from tidegate.agents.alert_settings import AlertSettings
from tidegate.agents.commands import up
from tidegate.agents.commands.up import WEB_PORT, run_up
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


@pytest.mark.parametrize("taken", [None, WEB_PORT + 3])
def test_every_role_that_runs_has_a_port_that_is_free_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int | None
) -> None:
    """The alerter, too, where there are addresses; where one port is taken, any free ones serve."""
    used: list[Settings] = []

    def stand_in(settings: Settings, log_level: int) -> int:
        used.append(settings)
        return 0

    def is_free(first: int, count: int) -> bool:
        return taken is None or taken not in range(first, first + count)

    monkeypatch.setattr(supervisor, "supervise", stand_in)
    monkeypatch.setattr(up, "_all_free", is_free)
    told: list[str] = []
    settings = Settings(state_dir=tmp_path, alerts=AlertSettings(("json://127.0.0.1:9",)))
    run_up(settings, "embedded", told.append)
    lines = [line for line in told if "/metrics" in line]
    assert used[0].web_port == (WEB_PORT if taken is None else 0)
    assert len(lines) == (4 if taken is None else 0)
    if taken is None:
        assert lines[-1] == f"alerter  http://127.0.0.1:{WEB_PORT + 3}/metrics"


def test_an_unknown_broker_starts_nothing(tmp_path: Path) -> None:
    """A misspelt broker is refused with the names there are."""
    with pytest.raises(DefinitionError, match="embedded, local, container"):
        run_up(Settings(state_dir=tmp_path), "lokal", print)
