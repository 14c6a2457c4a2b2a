"""The command as a whole: what it loads, how it ends, what it says when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.schemas.manifest.samples import MANIFEST, spoilt
from tidegate.agents.commands.main import LATER, app

NOBODY = "127.0.0.1:1"


def tidegate(*words: str, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    """`tidegate WORDS` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", *words],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_help_loads_nothing_heavy() -> None:
    """`tidegate --help` lists the commands without Kafka, Faust, River, numpy, pydantic or rich."""
    heavy = ("confluent_kafka", "faust", "river", "numpy", "pydantic", "rich", "fastavro")
    script = (
        "import sys\nfrom tidegate.agents.commands.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "rollback" in done.stdout


@pytest.mark.parametrize("word", sorted(LATER))
def test_commands_of_later_versions_say_so(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong use, and what there is instead."""
    with pytest.raises(SystemExit) as caught:
        app([word, "click-ranker"])
    assert caught.value.code == 2
    assert "is not in this version" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["rollback", "x"], ["get", "-o", "xml"], ["set"]]
)
def test_wrong_use_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown commands, missing words and reasons."""
    with pytest.raises(SystemExit) as caught:
        app(words)
    assert caught.value.code == 2


def test_no_broker_is_3_and_says_where_it_was_looked_for() -> None:
    """One paragraph on stderr, nothing on stdout."""
    code, out, err = tidegate("get", "--bootstrap", NOBODY)
    assert (code, out) == (3, "")
    assert NOBODY in err
    assert "command line" in err
    assert "tidegate up" in err


@pytest.mark.parametrize("command", ["up", "demo"])
def test_the_address_that_kafka_names_is_not_blamed_on_others(command: str) -> None:
    """`--kafka HOST:PORT` wins over every other setting, and the error says where it came from."""
    surroundings = {**os.environ, "TIDEGATE_BOOTSTRAP": "127.0.0.1:2"}
    code, _, err = tidegate(command, "--kafka", NOBODY, environment=surroundings)
    assert code == 3
    assert f"{NOBODY} (from --kafka)" in err


def test_lint_is_0_for_a_sound_manifest_and_2_for_a_faulty_one(tmp_path: Path) -> None:
    """Faults on stderr, as facts on stdout when asked for; no broker is needed."""
    file = tmp_path / "experiment.yaml"
    file.write_text(MANIFEST)
    assert tidegate("lint", "-f", str(file)) == (
        0, f"{file}: click-ranker is sound (shadow, canary, canary, bandit, full)\n", ""
    )  # fmt: skip
    file.write_text(spoilt("weight: 5%", "weight: 60%"))
    code, out, err = tidegate("lint", "-f", str(file))
    assert (code, out) == (2, "")
    assert f"{file}:22: " in err
    code, out, err = tidegate("lint", "-f", str(file), "-o", "json")
    assert (code, err) == (2, "")
    assert '"sound": false' in out


def test_lint_prints_the_schema_for_editors() -> None:
    """The schema is JSON on stdout."""
    code, out, _ = tidegate("lint", "--json-schema")
    assert code == 0
    assert '"apiVersion"' in out


def test_a_reader_that_stops_reading_is_no_error() -> None:
    """`tidegate … | head` ends quietly."""
    command = f"{sys.executable} -m tidegate lint --json-schema | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
