"""`tidegate topics`: what it prints, and what its exit code says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tidegate.agents.commands.topics import run_topics
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError, Unreachable
from tidegate.schemas.topics import TOPICS


def test_a_cluster_as_wanted_is_said_to_be_so(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plan has nothing to do, apply does nothing, check exits 0."""
    assert [run_topics(settings, action, "table") for action in ("plan", "apply", "check")] == [
        0,
        0,
        0,
    ]
    assert capsys.readouterr().out.splitlines() == [
        "The topics are as the table wants them: nothing to do.",
        "The topics are as the table wants them: nothing was done.",
        "The topics are as agents need them.",
    ]


def test_faults_exit_with_one_and_name_the_remedy(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under another prefix nothing exists: a line for every topic, each with its remedy."""
    elsewhere = replace(settings, prefix="elsewhere.")
    assert run_topics(elsewhere, "check", "table") == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(TOPICS)
    assert lines[0] == "elsewhere.predictions: is missing; run `tidegate topics apply`"
    assert run_topics(elsewhere, "check", "json") == 1
    [first, *_] = json.loads(capsys.readouterr().out)["faults"]
    assert first == {
        "topic": "elsewhere.predictions",
        "what": "is missing",
        "remedy": "run `tidegate topics apply`",
    }


def test_a_plan_says_what_apply_would_do(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planning changes nothing and gives action, partitions and settings of each topic."""
    elsewhere = replace(settings, prefix="elsewhere.", partitions=6)
    assert run_topics(elsewhere, "plan", "json") == 0
    [first, *_] = json.loads(capsys.readouterr().out)["changes"]
    assert (first["topic"], first["action"], first["partitions"]) == (
        "elsewhere.predictions",
        "create",
        6,
    )
    assert first["settings"]["cleanup.policy"] == "delete"
    assert run_topics(elsewhere, "check", "json") == 1


@pytest.mark.kafka
def test_apply_creates_what_the_plan_showed(
    kafka_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """After apply on a real cluster another apply finds nothing left to do."""
    elsewhere = replace(kafka_settings, prefix=kafka_settings.prefix + "more.")
    assert run_topics(elsewhere, "apply", "table") == 0
    assert capsys.readouterr().out.count("create ") == len(TOPICS)
    assert run_topics(elsewhere, "apply", "table") == 0
    assert capsys.readouterr().out.endswith("nothing was done.\n")


def test_what_apply_cannot_mend_is_said(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other partition counts: nothing is done about them, and the exit code says so."""
    more = replace(settings, partitions=6)
    assert run_topics(more, "apply", "table") == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"not changed: {settings.prefix}predictions: has 4 partitions, not 6")
    assert run_topics(more, "apply", "yaml") == 1
    assert "changes: []\nfaults:\n- " in capsys.readouterr().out


def test_an_embedded_broker_is_not_asked_for_topics(embedded_settings: Settings) -> None:
    """It cannot create any by request: the message says so at once, and what creates them."""
    assert run_topics(embedded_settings, "apply", "table") == 0
    elsewhere = replace(embedded_settings, prefix="elsewhere.")
    with pytest.raises(DefinitionError, match=r"tidegate up --prefix elsewhere\."):
        run_topics(elsewhere, "apply", "table")


def test_no_broker_is_an_error_of_reach() -> None:
    """Where nobody answers the command ends with the message that says where it looked."""
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        run_topics(Settings().with_bootstrap("127.0.0.1:9"), "check", "table")
