"""Instance ids: kept over restarts, never shared."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from tidegate.agents import instance
from tidegate.agents.settings import Settings


@pytest.fixture
def settings_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a state folder of their own, on a cluster that knows static members."""
    monkeypatch.setattr(instance, "_keeps_members", lambda settings: True)
    return Settings(state_dir=tmp_path)


def test_workers_side_by_side_have_different_names(settings_here: Settings) -> None:
    """Each holds a lock on its number."""
    names = [instance.instance_id(settings_here, role) for role in ("joiner", "joiner", "decider")]
    assert names[0].endswith("-joiner-0")
    assert names[1].endswith("-joiner-1")
    assert names[2].endswith("-decider-0")


def test_a_given_name_is_taken() -> None:
    """Whoever runs in a pod says its name; the role keeps two groups' members apart."""
    assert instance.instance_id(Settings(instance_id="pod-7"), "joiner") == "pod-7-joiner"


def test_a_folder_that_cannot_be_written_means_a_dynamic_member(settings_here: Settings) -> None:
    """The worker works all the same."""
    blocked = settings_here.state_dir / "file"
    blocked.write_text("")
    assert instance.instance_id(replace(settings_here, state_dir=blocked), "joiner") == ""


def _name(settings: Settings) -> None:
    instance._keeps_members = lambda settings: True
    (settings.state_dir / "name").write_text(instance.instance_id(settings, "ticker"))


def test_a_name_is_free_when_its_process_ends(settings_here: Settings) -> None:
    """However it ends: the lock goes with it."""
    names = []
    for _ in range(2):
        process = multiprocessing.get_context("spawn").Process(target=_name, args=(settings_here,))
        process.start()
        process.join()
        names.append((settings_here.state_dir / "name").read_text())
    assert names[0] == names[1]


def test_the_embedded_broker_knows_no_static_members(embedded_settings: Settings) -> None:
    """There a member that comes back waits for the session of the one it was."""
    assert instance.instance_id(embedded_settings, "joiner") == ""
