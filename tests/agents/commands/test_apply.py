"""Manifests become orders, and orders are answered by the decider or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents.commands.live import NAME, LiveDecider
from tests.agents.commands.recorded import run
from tests.schemas.manifest.samples import FLAG, MANIFEST, spoilt
from tidegate.agents.commands.logs import experiment_partition
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A sound manifest of the experiment the live decider knows."""
    return written(tmp_path, MANIFEST)


def written(folder: Path, text: str) -> Path:
    """A manifest file of that experiment."""
    file = folder / "experiment.yaml"
    text = text.replace("name: click-ranker", f"name: {NAME}")
    file.write_text(text.replace("name: new-search", f"name: {NAME}"))
    return file


def orders_written(settings: Settings) -> int:
    """How many records stand in the experiment's partition of `control`."""
    return len(list(read_topic(settings, "control", [experiment_partition(settings, NAME)])))


def test_apply_starts_an_experiment(
    embedded_settings: Settings, capsys: Captured, manifest: Path
) -> None:
    """The answer names the order it answers; the sentence is the decider's."""
    with LiveDecider(embedded_settings):
        answer = run(embedded_settings, capsys, "apply", "-f", str(manifest), "-o", "json",
                     "--actor", "ada")  # fmt: skip
    assert answer.code == 0
    facts = answer.json
    assert (facts["new"], facts["decision"]["action"], facts["decision"]["version"]) == (
        True, "APPLY", 1
    )  # fmt: skip
    assert facts["decision"]["reason"] == "applied for the first time by ada"


def test_apply_shows_what_changes_and_is_written_against_it(
    embedded_settings: Settings, capsys: Captured, manifest: Path, tmp_path: Path
) -> None:
    """A second manifest names the digest of the first; the difference is shown by place."""
    with LiveDecider(embedded_settings):
        assert run(embedded_settings, capsys, "apply", "-f", str(manifest)).code == 0
        same = run(embedded_settings, capsys, "apply", "-f", str(manifest), "--dry-run")
        assert (same.code, same.out) == (0, f"{NAME}: nothing differs from what runs\n")
        written(tmp_path, spoilt("worse_by: 1pp", "worse_by: 2pp"))
        answer = run(embedded_settings, capsys, "apply", "-f", str(manifest))
    assert answer.code == 0
    assert "  - guardrails[0].worse_by.value: 0.01\n" in answer.out
    assert "  + guardrails[0].worse_by.value: 0.02\n" in answer.out
    assert "the statistics go on" in answer.out


def test_a_dry_run_writes_nothing(
    embedded_settings: Settings, capsys: Captured, manifest: Path
) -> None:
    """It says what would begin, needs no decider, and leaves nothing on `control`."""
    answer = run(embedded_settings, capsys, "apply", "-f", str(manifest), "--dry-run")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        f"{NAME}: new",
        "  control     champion: ranker v1",
        "  candidate   challenger: ranker v2",
        "  release     shadow, canary, canary, bandit, full",
        "  objective   revenue",
        "  guardrails  errors (rollback), latency (pause), conversion (step_back)",
        "Nothing was changed: this was a dry run.",
    ]
    assert orders_written(embedded_settings) == 0


def test_a_faulty_manifest_is_2_and_nothing_is_sent(
    embedded_settings: Settings, capsys: Captured, tmp_path: Path
) -> None:
    """All faults on stderr, with file and line."""
    file = written(tmp_path, spoilt("weight: 5%", "weight: 60%"))
    answer = run(embedded_settings, capsys, "apply", "-f", str(file))
    assert answer.code == 2
    assert f"{file}:22: spec.release[1].canary.weight: 60 % is above 50 %" in answer.err
    assert orders_written(embedded_settings) == 0


def test_no_answer_is_4_and_says_what_to_do(
    embedded_settings: Settings, capsys: Captured, manifest: Path
) -> None:
    """The order stands; the message names it and what has to run."""
    answer = run(embedded_settings, capsys, "apply", "-f", str(manifest), "--timeout", "300ms")
    assert answer.code == 4
    assert "No decider answered APPLY" in answer.err
    assert "tidegate worker" in answer.err
    assert orders_written(embedded_settings) == 1


def test_orders_of_people_are_carried_out(
    embedded_settings: Settings, capsys: Captured, manifest: Path
) -> None:
    """pause, resume, promote --next, promote and abort: each answered by its decision."""
    with LiveDecider(embedded_settings):
        run(embedded_settings, capsys, "apply", "-f", str(manifest))
        said = [
            run(embedded_settings, capsys, *words, NAME, "--reason", "tired", "-o", "json").json
            for words in (["pause"], ["resume"], ["promote", "--next"], ["promote"])
        ]
    assert [item["action"] for item in said] == ["PAUSE", "RESUME", "ADVANCE", "PROMOTE"]
    assert all("tired" in item["reason"] for item in said)
    assert said[-1]["weights"] == {"champion": 0, "challenger": 10_000}


def test_a_refusal_is_1_with_the_reason(
    embedded_settings: Settings, capsys: Captured, manifest: Path
) -> None:
    """The decider's word is passed on."""
    with LiveDecider(embedded_settings):
        run(embedded_settings, capsys, "apply", "-f", str(manifest))
        answer = run(embedded_settings, capsys, "resume", NAME, "--reason", "x")
        unknown = run(embedded_settings, capsys, "set", NAME, "challenger=50%")
    assert (answer.code, answer.err) == (
        1, "RESUME refused: not possible while the experiment is RUNNING\n"
    )  # fmt: skip
    assert unknown.code == 1
    assert "SET refused" in unknown.err


def test_a_flag_is_moved(embedded_settings: Settings, capsys: Captured, tmp_path: Path) -> None:
    """Shares in percent become the flag's weights; control takes the rest."""
    file = written(tmp_path, FLAG)
    with LiveDecider(embedded_settings):
        run(embedded_settings, capsys, "apply", "-f", str(file))
        answer = run(embedded_settings, capsys, "set", NAME, "on=50%", "-o", "yaml")
    assert answer.code == 0
    assert "action: SET" in answer.out
    assert "off: 5000" in answer.out


@pytest.mark.parametrize("word", ["on", "on=half", "=5%", "on=101%", "on=5"])
def test_shares_that_cannot_be_read_are_2(
    embedded_settings: Settings, capsys: Captured, word: str
) -> None:
    """Nothing is sent for a word that does not say a share."""
    answer = run(embedded_settings, capsys, "set", NAME, word)
    assert answer.code == 2
    assert word in answer.err
