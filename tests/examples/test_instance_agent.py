"""The reference agent keeps in mind what shall run on it, whatever happens to it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

HOST = Path(__file__).resolve().parents[2] / "examples" / "local_host.py"


class Process:
    """A model server without a process; those of `ill` never become well."""

    ill: ClassVar[set[str]] = set()

    def __init__(self, artifact: tuple[str, str], parameters: Any, folder: Path) -> None:
        self._version = artifact[1]
        self.health = "OK"

    def await_health(self) -> None:
        """Returns when it is well."""
        if self._version in self.ill:
            raise RuntimeError("the model server ended with 1")

    def look(self) -> str:
        """How it is."""
        return "DEGRADED" if self._version in self.ill else "OK"

    def end(self) -> None:
        """It is gone."""


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example as a module, with processes that are none."""
    spec = importlib.util.spec_from_file_location("local_host", HOST)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "Running", Process)
    monkeypatch.setattr(Process, "ill", set())
    return module


def host(agent: Any, folder: Path) -> Any:
    """An instance's host as it starts, or starts anew, in a folder."""
    versions = folder / "versions.json"
    versions.write_text(json.dumps({f"ranker/v{each}": {} for each in (1, 2, 3)}))
    return agent.LocalHost(versions, folder / "state")


def runs(found: Any) -> list[str]:
    """Versions that run."""
    return [item.version for item in found.servers()]


def test_it_runs_anew_what_commands_have_left(agent: Any, tmp_path: Path) -> None:
    """What was commanded wins over `--run`, also that nothing shall run."""
    first = host(agent, tmp_path)
    first.resume(["ranker/v1"])
    first.start("ranker", "v2")
    first.end("ranker", "v1")
    again = host(agent, tmp_path)
    again.resume(["ranker/v1"])
    assert runs(again) == ["v2"]
    again.end("ranker", "v2")
    last = host(agent, tmp_path)
    last.resume(["ranker/v1"])
    assert runs(last) == []


def test_a_start_that_fails_changes_nothing_of_what_shall_run(agent: Any, tmp_path: Path) -> None:
    """Neither by command nor when the instance starts anew: next time it may be well."""
    first = host(agent, tmp_path)
    first.resume(["ranker/v1"])
    first.start("ranker", "v2")
    Process.ill = {"v1", "v3"}
    for version in ("v3", "v1"):
        with pytest.raises(RuntimeError):
            first.start("ranker", version)
    meanwhile = host(agent, tmp_path)
    meanwhile.resume(["ranker/v3"])
    assert runs(meanwhile) == ["v2"]
    Process.ill = set()
    again = host(agent, tmp_path)
    again.resume([])
    assert runs(again) == ["v1", "v2"]


def test_a_replacement_that_fails_leaves_what_it_was_to_replace(
    agent: Any, tmp_path: Path
) -> None:
    """A deployment ends the old version before the new one is well: an instance that starts anew
    must not come up with nothing."""
    first = host(agent, tmp_path)
    first.resume(["ranker/v1"])
    first.start("ranker", "v2")
    first.end("ranker", "v1")
    first.end("ranker", "v2")
    Process.ill = {"v3"}
    with pytest.raises(RuntimeError):
        first.start("ranker", "v3")
    with pytest.raises(LookupError):
        first.start("ranker", "v4")
    again = host(agent, tmp_path)
    again.resume(["ranker/v1"])
    assert runs(again) == ["v2"]


def test_a_first_start_that_fails_is_tried_again(agent: Any, tmp_path: Path) -> None:
    """`--run` holds until a command says otherwise: a failure is no command."""
    Process.ill = {"v1"}
    with pytest.raises(RuntimeError):
        host(agent, tmp_path).resume(["ranker/v1"])
    Process.ill = set()
    again = host(agent, tmp_path)
    again.resume(["ranker/v1"])
    assert runs(again) == ["v1"]
