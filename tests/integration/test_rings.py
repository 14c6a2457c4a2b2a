"""Rings on a real Apache Kafka with two serving processes: to the good end, into a rollback, and a
breach that closes only its own ring."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.agents.commands.recorded import run
from tests.agents.counting import ROOT, environment_of
from tests.agents.waiting import wait_for
from tests.integration.world import World, engine_environment, with_short_horizons
from tidegate.agents.commands.logs import decisions_newest_first
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import Decision, Prediction

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

BAD = {"good": [], "bad": ["us", "eu", "asia"], "partly": ["eu"]}
"""Experiments, and the regions in which their challenger never converts.

A ring needs more requests than it takes to be sure of that, so that none is passed by a bad one.
"""
ON_BREACH = {"good": "ring", "bad": "all", "partly": "ring"}
MANIFEST = """
apiVersion: tidegate.dev/v1
kind: Experiment
metadata: {{name: {name}}}
spec:
  unit: {{key: user, fallback: session}}
  control: champion
  variants:
    champion:   {{model: ranker, version: v1}}
    challenger: {{model: ranker, version: v2}}
  metrics:
    conversion: {{type: binary, aggregate: first, window: 1s, default: 0, goal: increase}}
  guardrails:
    - {{metric: conversion, compare: control, worse_by: 10pp, min_samples: 25, on_breach: rollback}}
  release:
    - rings:
        rings:
          - {{name: america, when: {{region: us}}}}
          - {{name: europe, when: {{region: eu}}}}
          - {{name: others}}
        weight: 50%
        hold: 1s
        min_samples: 60
        on_breach: {on_breach}
    - full: {{keep_previous: 1h}}
"""


@pytest.fixture
def settings(
    kafka_settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Settings]:
    """Workers of all roles, three experiments, and two processes that serve them; commands are the
    same engine as the workers."""
    settings = with_short_horizons(kafka_settings)
    for name, value in engine_environment(settings).items():
        monkeypatch.setenv(name, value)
    with World(settings, tmp_path / "workers.log") as world:
        for role in ("ticker", "joiner", "decider"):
            world.start(role)
        for name, on_breach in ON_BREACH.items():
            path = tmp_path / f"{name}.yaml"
            path.write_text(MANIFEST.format(name=name, on_breach=on_breach), encoding="utf-8")
            answer = run(settings, capsys, "apply", "-f", str(path), "--timeout", "200s")
            assert answer.code == 0, answer.err
        program = [sys.executable, "-m", "tests.integration.ring_service"]
        services = [
            subprocess.Popen(
                [*program, word, "90", json.dumps(BAD)],
                cwd=ROOT,
                env=environment_of(settings, {}),
            )
            for word in ("one", "two")
        ]
        yield settings
        for service in services:
            service.terminate()
            service.wait(30)


def history(settings: Settings, name: str) -> list[Decision]:
    """All decisions of an experiment, the first one first."""
    return list(islice(decisions_newest_first(settings, name), 200))[::-1]


def served(settings: Settings, name: str) -> Counter[tuple[str, str]]:
    """Requests the challenger answered, by region and reason."""
    found: Counter[tuple[str, str]] = Counter()
    for record in read_topic(settings, "predictions"):
        if record.value is None:
            continue
        event = decode_as(Prediction, record.value)
        assert event.unit_id.startswith("session:") or event.reason == "DEFAULT"
        if event.experiment == name and event.variant == "challenger":
            found[(event.attributes or {})["region"], event.reason] += 1
    return found


def test_rings_to_each_of_their_ends(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sound release goes through all rings; a breach in one ring takes all back, or with
    `on_breach: ring` only that one; an audit derives every record again."""

    def has_ended() -> bool:
        last = {name: history(settings, name)[-1].phase for name in BAD}
        return last == {"good": "PROMOTED", "bad": "ROLLED_BACK", "partly": "PROMOTED"}

    wait_for(has_ended, 240.0)
    good, bad, partly = (history(settings, name) for name in ("good", "bad", "partly"))

    steps = [each.action for each in good if each.action != "HOLD"]
    assert steps == ["APPLY", "ADVANCE", "ADVANCE", "PROMOTE"]
    assert {region for region, _ in served(settings, "good")} == {"us", "eu", "asia"}

    assert bad[-1].action == "ROLLBACK"
    assert json.loads(bad[-1].evidence)["rolled_back"] == ["challenger"]
    words = ("--variant", "challenger", "--reason", "who has not confirmed?", "-o", "json")
    confirmed = run(settings, capsys, "rollback", "bad", *words)
    assert (confirmed.code, confirmed.json["live"], confirmed.json["confirmed"]) == (0, 2, 2)
    assert {region for region, _ in served(settings, "bad")} == {"us"}, "no other ring started"

    closed = [each for each in partly if each.action == "CLOSE_RING"]
    assert len(closed) == 1
    assert closed[0].reason.startswith("ring europe: conversion ")
    states = {ring["name"]: ring["state"] for ring in json.loads(partly[-1].evidence)["rings"]}
    assert states == {"america": "open", "europe": "closed", "others": "open"}
    assert not [each for each in partly if each.action == "ROLLBACK"]
    before = served(settings, "partly")
    wait_for(lambda: served(settings, "partly")["asia", "SPLIT"] > before["asia", "SPLIT"] + 50)
    after = served(settings, "partly")
    assert after["eu", "SPLIT"] == before["eu", "SPLIT"], "the closed ring stays with control"

    answer = run(settings, capsys, "verify", "-o", "json")
    assert (answer.code, answer.json["equal"]) == (0, True), answer.out
