"""The demo's manifests are sound, and say what the story needs."""

from __future__ import annotations

from pathlib import Path

import pytest

import tidegate.agents.demo
from tidegate.agents.commands.lint import load
from tidegate.agents.demo.models import EXPERIMENT

FOLDER = Path(tidegate.agents.demo.__file__).parent


@pytest.mark.parametrize("name", ["hasty", "careful"])
def test_a_manifest_is_sound_and_names_its_challenger(name: str) -> None:
    """Both release by shadow, canary, bandit and full, and roll back when answers get worse."""
    manifest = load(FOLDER / f"{name}.yaml")
    assert manifest.name == EXPERIMENT
    assert manifest.spec.candidates == (name,)
    assert [step.strategy for step in manifest.spec.release] == [
        "shadow",
        "canary",
        "bandit",
        "full",
    ]
    assert {guardrail.on_breach for guardrail in manifest.spec.guardrails} == {"rollback"}
