"""What a person is told of a record, and what the settings leave out."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.agents.alert_settings import AlertSettings, read_alerts
from tidegate.agents.alerting import HALTING, INFORMING, KINDS, is_wanted, of_command, of_decision
from tidegate.schemas.events import Command, Decision
from tidegate.streams.deciding.proposals import Action


def decision(**changes: Any) -> Decision:
    """A rollback, or what is asked for."""
    fields: dict[str, Any] = {
        "decision_id": "ranker/0/7", "control_id": None, "experiment": "ranker", "epoch": 0,
        "version": 7, "generation": 2, "decided_at": 1, "watermark": 1, "step": 0,
        "phase": "ROLLED_BACK", "verdict": "FAIL", "action": "ROLLBACK", "variant": "challenger",
        "reason": "errors 8.0 % against 1.0 %", "evidence": "{}", "weights": {}, "covers": {},
        "engine": "e", "previous": "",
    }  # fmt: skip
    return Decision(**{**fields, **changes})


def command(kind: str = "ALERT") -> Command:
    """A command."""
    return Command(
        command_id="alert/gap/0/1/5", experiment="", generation=0, kind=kind, arguments={},
        reason="batch 9 has been missing", decision_id="",
    )  # fmt: skip


def test_a_rollback_informs_with_its_reason() -> None:
    """Nobody is waited for: the harm has ended already."""
    found = of_decision(decision())
    assert (found.identity, found.kind, found.severity) == ("ranker/0/7", "ROLLBACK", "critical")
    assert (found.effect, found.title) == (INFORMING, "ranker: rollback challenger")
    assert found.body == "errors 8.0 % against 1.0 %\nDecision ranker/0/7, generation 2."


def test_a_paused_release_halts_and_says_what_to_type() -> None:
    """It waits for a person, whatever the record is about."""
    found = of_decision(decision(action="PAUSE", phase="PAUSED"))
    assert (found.severity, found.effect) == ("warning", HALTING)
    assert "tidegate resume ranker, tidegate promote ranker, or tidegate abort" in found.body
    assert of_decision(decision(action="HOLD", phase="PAUSED")).effect == HALTING


def test_a_hold_is_worth_a_warning_when_something_failed() -> None:
    """Waiting for data is everyday; a breach that is only told is not."""
    assert of_decision(decision(action="HOLD", verdict="NO_DATA")).severity == "info"
    assert of_decision(decision(action="HOLD", verdict="FAIL")).severity == "warning"


def test_of_commands_only_alerts_are_told() -> None:
    """Views and heartbeats are for programs."""
    found = of_command(command())
    assert found is not None
    assert (found.severity, found.body) == ("critical", "batch 9 has been missing")
    assert of_command(command("STATUS")) is None


def test_every_action_has_a_severity() -> None:
    """A new action is not told by chance."""
    assert {*KINDS} == {*map(str, Action), "ALERT"}


@pytest.mark.parametrize(
    ("kinds", "least", "wanted"),
    [
        ((), "info", True),
        ((), "critical", True),
        (("PAUSE",), "info", False),
        (("ROLLBACK", "PAUSE"), "warning", True),
    ],
)
def test_settings_choose_by_kind_and_severity(
    kinds: tuple[str, ...], least: str, wanted: bool
) -> None:
    """Both must agree."""
    assert is_wanted(of_decision(decision()), kinds, least) is wanted
    assert not is_wanted(of_decision(decision(action="ADVANCE")), kinds, "warning")


def test_the_setting_is_read_or_refused_with_what_to_write() -> None:
    """A misspelt kind would be silence."""
    found = read_alerts({"addresses": ["json://u:secret@host/x"], "min_severity": "info"})
    assert found == AlertSettings(("json://u:secret@host/x",), (), "info")
    assert "secret" not in found.shown()
    assert read_alerts("json://a json://b").addresses == ("json://a", "json://b")
    for raw, said in (
        ([], "must be a map"),
        ({"address": []}, "not address"),
        ({"addresses": "json://a"}, "must be a list"),
        ({"kinds": ["ROLBACK"]}, "ROLBACK is none; known are APPLY"),
        ({"min_severity": "loud"}, "known are info, warning, critical"),
    ):
        with pytest.raises(ValueError, match=said):
            read_alerts(raw)
