"""Every strategy as its page has it, on a real Apache Kafka, with two serving processes and people:
once to the good end, once into a rollback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.releases import BAD, GOOD, Releases, manifest_of, quick
from tests.integration.world import engine_environment, with_short_horizons
from tidegate.agents.settings import Settings
from tidegate.schemas.events import Decision

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

PAGES = Path(__file__).parents[2] / "docs" / "strategies"
NAMES = ("shadow", "canary", "ab", "bandit", "pause", "approve", "full", "flag")
GUARDED = ("canary", "ab", "bandit", "pause", "approve", "flag")
"""Pages whose manifest has a guardrail on errors that rolls back; the others are for people."""


@pytest.fixture
def releases(
    kafka_settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Releases]:
    """Workers of all roles, and commands that are the same engine as they."""
    settings = with_short_horizons(kafka_settings)
    for name, value in engine_environment(settings).items():
        monkeypatch.setenv(name, value)
    with Releases(settings, tmp_path, capsys) as running:
        yield running


def begin(releases: Releases, models: object) -> None:
    """Every page's manifest is applied while two processes serve."""
    for name in NAMES:
        releases.behave(name, models)  # type: ignore[arg-type]
    for name in NAMES:
        releases.apply(quick(manifest_of(PAGES / f"{name}.md"), name), name)
    releases.serve(2, 100.0)


def test_every_strategy_to_its_good_end(releases: Releases) -> None:
    """The better model serves everybody in the end; people do what only people may, with reasons;
    an audit of all of it derives every record again."""
    begin(releases, GOOD)
    done: set[str] = set()

    def people(name: str, last: Decision) -> None:
        if name == "pause" and last.phase == "PAUSED":
            assert releases.order("resume", name, "--reason", "looked at it").code == 0
        if name == "approve" and last.phase == "PAUSED" and name not in done:
            done.add(name)
            refused = releases.order("approve", name, "--reason", "me too")
            assert refused.code == 1
            assert "needs the role owner or risk" in refused.err
            for actor, role in (("ann", "owner"), ("bob", "risk")):
                words = ("--actor", actor, "--role", role, "--reason", "looked at it")
                answer = releases.order("approve", name, *words)
                assert answer.code == 0, answer.err
        if name == "flag" and name not in done:
            done.add(name)
            assert releases.order("set", name, "challenger=100%").code == 0

    releases.until(
        NAMES,
        lambda last: last.phase in ("PROMOTED", "COMPLETED") or last.action == "SET",
        people,
    )
    for name in NAMES:
        assert releases.last(name).weights["challenger"] == 10_000, name
        assert not [each for each in releases.history(name) if each.action == "ROLLBACK"], name
    assert releases.command("status", "ab", "--timeout", "30s").code == 0
    answer = releases.command("verify", "-o", "json")
    assert (answer.code, answer.json["equal"]) == (0, True), answer.out


def test_every_strategy_into_a_rollback(releases: Releases) -> None:
    """A candidate that fails is rolled back by its guardrail, others by a person; every serving
    process confirms, nobody else is rolled back, and what only people pass is not passed."""
    begin(releases, BAD)
    for name in sorted(set(NAMES) - set(GUARDED)):
        releases.await_clients(name, 2)
        answer = releases.order("rollback", name, "--reason", "complaints", "-o", "json")
        assert (answer.code, answer.json["live"], answer.json["confirmed"]) == (0, 2, 2), answer
    releases.until(NAMES, lambda last: json.loads(last.evidence)["rolled_back"] == ["challenger"])
    for name in NAMES:
        last = releases.last(name)
        assert last.weights["challenger"] == 0, name
        automatic = [each for each in releases.history(name) if each.action == "ROLLBACK"]
        assert [bool(each.control_id) for each in automatic] == [name not in GUARDED], name
    assert releases.command("status", "canary", "--timeout", "5s").code == 1
