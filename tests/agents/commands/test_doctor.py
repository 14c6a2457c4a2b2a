"""`tidegate doctor`: everything in force is shown and tried."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tidegate.agents.commands.doctor import run_doctor, tick_age_ms
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings, load_settings
from tidegate.schemas.marks import tick_headers


def tick(settings: Settings, log_time_ms: int) -> None:
    """Write one tick into the first partition of `control`."""
    producer = new_producer(settings)
    producer.produce(
        settings.topic("control"), None, partition=0, headers=tick_headers(log_time_ms)
    )
    assert producer.flush(20) == 0


def test_a_healthy_installation_exits_with_zero(
    embedded_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broker, topics and ticks are tried, and each says what was found."""
    # A moment ahead: a crowded machine takes seconds to get to looking at it.
    tick(embedded_settings, time.time_ns() // 1_000_000 + 20_000)
    assert run_doctor(embedded_settings, "json") == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [each["name"] for each in findings] == [
        "state_dir",
        "web",
        "broker",
        "topics",
        "ticks",
    ]
    assert all(each["works"] for each in findings)


def test_time_that_stands_still_is_found(
    embedded_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a ticker, or with an old tick only, the finding names what to start."""
    assert run_doctor(embedded_settings, "table") == 1
    assert "nobody ticks" in capsys.readouterr().out
    tick(embedded_settings, 1_700_000_000_000)
    assert tick_age_ms(embedded_settings, 1_700_000_005_000) == 5_000
    assert run_doctor(embedded_settings, "table") == 1
    assert "tidegate worker --role ticker" in capsys.readouterr().out


def test_missing_topics_come_with_their_remedy(
    embedded_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """What keeps agents from starting is found here first."""
    assert run_doctor(replace(embedded_settings, prefix="elsewhere."), "table") == 1
    shown = capsys.readouterr().out
    assert "elsewhere.predictions is missing" in shown
    assert "tidegate topics apply" in shown


def test_no_broker_exits_with_three(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that needs a broker is tried without one, and the exit code says why."""
    assert run_doctor(Settings().with_bootstrap("127.0.0.1:9"), "json") == 3
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [each["name"] for each in findings if not each["works"]] == ["broker"]
    assert "127.0.0.1:9" in findings[-1]["detail"]


def test_origins_are_shown_and_secrets_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each setting has the place it came from; passwords are masked."""
    written = tmp_path / "tidegate.yaml"
    written.write_text(
        "kafka: {bootstrap.servers: '127.0.0.1:9', sasl.password: hunter2}\npartitions: 8\n"
    )
    settings = load_settings(written, {"TIDEGATE_PREFIX": "t."}, {"tick_ms": 50})
    run_doctor(settings, "json")
    text = capsys.readouterr().out
    shown = {each["name"]: each for each in json.loads(text)["settings"]}
    assert "hunter2" not in text
    assert shown["kafka: sasl.password"]["value"] == "***"
    assert shown["partitions"] == {"name": "partitions", "value": "8", "origin": str(written)}
    assert shown["prefix"]["origin"] == "environment"
    assert shown["tick_ms"]["origin"] == "command line"
    assert shown["decision_partitions"]["origin"] == "default"


def test_an_open_web_address_and_a_locked_folder_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Health pages on all interfaces are refused; a state folder must be a folder."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    settings = replace(
        Settings().with_bootstrap("127.0.0.1:9"), web_host="0.0.0.0", state_dir=blocked
    )
    run_doctor(settings, "table")
    shown = capsys.readouterr().out
    assert "FAIL  web" in shown
    assert "FAIL  state_dir" in shown


def test_a_registry_that_is_away_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """With schema_registry set, it is tried too."""
    settings = replace(
        Settings().with_bootstrap("127.0.0.1:9"), schema_registry={"url": "http://127.0.0.1:9"}
    )
    run_doctor(settings, "table")
    assert "FAIL  registry" in capsys.readouterr().out
