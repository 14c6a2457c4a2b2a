"""The engine: what can change an output changes its name, and nothing else does."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path

import pytest

from tidegate.agents import engine
from tidegate.agents.settings import Settings


def test_it_is_sixteen_hexadecimal_digits() -> None:
    """Short enough for a log line, long enough to differ."""
    assert re.fullmatch(r"[0-9a-f]{16}", engine.fingerprint(Settings()))


@pytest.mark.parametrize("name", engine.ENGINE_SETTINGS)
def test_settings_of_the_engine_change_it(name: str) -> None:
    """Two workers that differ in one of these are two engines."""
    changed = replace(Settings(), **{name: getattr(Settings(), name) + 1})
    assert engine.fingerprint(changed) != engine.fingerprint(Settings())


def test_other_settings_do_not_change_it() -> None:
    """Where and how it runs does not show in outputs."""
    changed = Settings(
        kafka={"bootstrap.servers": "other:1"},
        prefix="other.",
        state_dir=Path("/other"),
        tick_ms=7,
        checkpoint_records=9,
        fetcher="aiokafka",
    )
    assert engine.fingerprint(changed) == engine.fingerprint(Settings())


def test_all_settings_below_the_line_are_covered() -> None:
    """Settings that the settings object calls part of the engine are."""
    names = [item.name for item in fields(Settings)]
    below = names[names.index("emit_interval_ms") : names.index("origins")]
    assert set(below) <= set(engine.ENGINE_SETTINGS)


def test_code_and_schemas_are_covered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One changed byte, or a renamed file, is another engine."""
    folder = tmp_path / "fold"
    folder.mkdir()
    module = folder / "merge.py"
    module.write_bytes(b"x = 1\n")

    def digest() -> str:
        engine.code_digest.cache_clear()
        found: str = engine.code_digest()
        return found

    monkeypatch.setattr(engine, "PACKAGES", (("fold", folder),))
    first = digest()
    module.write_bytes(b"x = 2\n")
    second = digest()
    module.rename(folder / "merged.py")
    third = digest()
    (folder / "notes.txt").write_text("not code")
    assert len({first, second, third, digest()}) == 3
    engine.code_digest.cache_clear()


def _other_cramjam(name: str) -> str:
    return "0.1" if name == "cramjam" else version(name)


@pytest.mark.parametrize(
    ("name", "other"), [("ZSTD_LEVEL", 19), ("CHUNK_BYTES", 7), ("version", _other_cramjam)]
)
def test_how_checkpoints_are_packed_is_covered(
    monkeypatch: pytest.MonkeyPatch, name: str, other: object
) -> None:
    """Two workers that pack otherwise never write chunks of one segment by turns."""
    before = engine.fingerprint(Settings())
    monkeypatch.setattr(f"tidegate.agents.engine.{name}", other)
    assert engine.fingerprint(Settings()) != before


def test_it_does_not_depend_on_the_process() -> None:
    """Another process under another hash seed has the same engine."""
    script = (
        "from tidegate.agents.engine import fingerprint;"
        "from tidegate.agents.settings import Settings; print(fingerprint(Settings()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {engine.fingerprint(Settings())}


def test_ingredients_can_be_read() -> None:
    """Whoever asks why two engines differ gets names and versions."""
    found = engine.ingredients(Settings())
    assert set(found["libraries"]) == {"numpy", "scipy", "river", "fastavro", "mmh3"}
    assert found["cpu_features"]
