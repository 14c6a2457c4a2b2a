"""`tidegate doctor`: everything in force is shown and tried."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.schemas.samples import event
from tidegate.agents.alert_settings import AlertSettings
from tidegate.agents.commands import pulse
from tidegate.agents.commands.doctor import run_doctor
from tidegate.agents.commands.pulse import last_ticks
from tidegate.agents.kafka import Record, new_producer, read_topic
from tidegate.agents.settings import Settings, load_settings
from tidegate.schemas.codec import encode
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.marks import tick_headers
from tidegate.schemas.topics import merged_topics


def tick(settings: Settings, *log_times_ms: int, but: str = "") -> None:
    """Write ticks into every merged log, except that of `but`."""
    producer = new_producer(settings)
    for role in ("decider", "joiner"):
        for topic in merged_topics(role):
            for partition in range(settings.partition_count(topic)):
                if f"{topic.name}-{partition}" != but:
                    name = settings.topic(topic.name)
                    for each in log_times_ms:
                        producer.produce(name, partition=partition, headers=tick_headers(each))
    assert producer.flush(20) == 0


def beat(settings: Settings, log_time_ms: int, watermark_ms: int, partitions: int = 4) -> None:
    """Let the deciders of some partitions tell log time and watermark, among other commands."""
    producer = new_producer(settings)
    for partition in range(partitions):
        told = {"log_time": str(log_time_ms), "watermark": str(watermark_ms)}
        heartbeat = event("command", kind="HEARTBEAT", experiment="", arguments=told)
        for command in (heartbeat, event("command", kind="STATUS", arguments={})):
            producer.produce(settings.topic("commands"), encode(command), partition=partition)
    assert producer.flush(20) == 0


def now_ms() -> int:
    """A moment ahead: a crowded machine takes seconds to get to looking at it."""
    return time.time_ns() // 1_000_000 + 20_000


def finding(settings: Settings, capsys: pytest.CaptureFixture[str], name: str) -> dict[str, Any]:
    """What doctor found of one thing."""
    run_doctor(settings, "json")
    findings = json.loads(capsys.readouterr().out)["findings"]
    return next(each for each in findings if each["name"] == name)


def test_a_healthy_installation_exits_with_zero(
    embedded_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broker, topics, ticks and log time are tried, and each says what was found."""
    tick(embedded_settings, now_ms())
    beat(embedded_settings, now_ms(), now_ms())
    assert run_doctor(embedded_settings, "json") == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [each["name"] for each in findings] == [
        "state_dir",
        "web",
        "broker",
        "topics",
        "ticks",
        "log time",
    ]
    assert all(each["works"] for each in findings)


def test_time_that_stands_still_is_found(
    embedded_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a ticker, or with old ticks only, the finding names what to start."""
    assert run_doctor(embedded_settings, "table") == 1
    assert "nobody ticks" in capsys.readouterr().out
    tick(embedded_settings, now_ms() - 100_000)
    assert run_doctor(embedded_settings, "table") == 1
    assert "tidegate worker --role ticker" in capsys.readouterr().out


def test_every_merged_log_needs_ticks(
    embedded_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """One partition without ticks stops its whole index, and is named."""
    tick(embedded_settings, now_ms(), but="outcomes-2")
    assert finding(embedded_settings, capsys, "ticks") == {
        "name": "ticks",
        "works": False,
        "detail": "there is no tick in outcomes-2",
        "remedy": "start a ticker: `tidegate worker --role ticker` (part of `tidegate up`)",
    }


def test_an_idle_log_is_not_read_far_back(
    embedded_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ticks by the thousand stand in a log that idles, and an embedded broker is slow with them."""
    places = [
        f"{topic.name}-{partition}"
        for role in ("decider", "joiner")
        for topic in merged_topics(role)
        for partition in range(embedded_settings.partition_count(topic))
    ]
    tick(embedded_settings, *range(1, 61))
    read: list[Record] = []

    def counted(*arguments: Any) -> Iterator[Record]:
        for record in read_topic(*arguments):
            read.append(record)
            yield record

    monkeypatch.setattr(pulse, "read_topic", counted)
    assert last_ticks(embedded_settings) == dict.fromkeys(places, 60)
    assert len(read) == 50 * len(set(places))


def test_a_tick_behind_many_records_is_found(embedded_settings: Settings) -> None:
    """Under load there may be thousands of records behind the last tick."""
    tick(embedded_settings, 1_000)
    producer = new_producer(embedded_settings)
    for _ in range(1_500):
        producer.produce(embedded_settings.topic("outcomes"), b"x", partition=2)
    assert producer.flush(20) == 0
    assert set(last_ticks(embedded_settings).values()) == {1_000}


@pytest.mark.parametrize(
    ("log_time_ms", "watermark_ms", "partitions", "said"),
    [
        (-400_000, -400_000, 4, "s behind this clock for the decider of partition"),
        (3_600_000, 3_600_000, 4, "s ahead of this clock for the decider of partition"),
        (0, -60_000, 4, "a joiner is 60 s behind the decider"),
        (0, 0, 3, "no decider was heard in partition 3"),
    ],
)
def test_young_ticks_do_not_hide_log_time_that_stands(
    embedded_settings: Settings,
    capsys: pytest.CaptureFixture[str],
    log_time_ms: int,
    watermark_ms: int,
    partitions: int,
    said: str,
) -> None:
    """Ticks that are ignored move nothing: what deciders tell is what is in force."""
    began_ms = now_ms()
    tick(embedded_settings, began_ms)
    beat(embedded_settings, began_ms + log_time_ms, began_ms + watermark_ms, partitions)
    assert finding(embedded_settings, capsys, "ticks")["works"]
    found = finding(embedded_settings, capsys, "log time")
    assert not found["works"]
    assert said in found["detail"]
    assert found["remedy"]


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


def test_addresses_of_alerts_are_read_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Whether Apprise knows them, and how to send one; of what they hold only the scheme."""
    pytest.importorskip("apprise")
    asked = Settings().with_bootstrap("127.0.0.1:9")
    for address, verdict in (("json://u:hunter2@127.0.0.1:9", "ok  "), ("no://hunter2", "FAIL")):
        run_doctor(replace(asked, alerts=AlertSettings((address,))), "table")
        shown = capsys.readouterr().out
        assert f"{verdict}  alerts" in shown
        assert "hunter2" not in shown
    assert "address 1 (no:…) is none that Apprise knows" in shown


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


def test_settings_that_cannot_be_used_say_what_to_write(tmp_path: Path) -> None:
    """A mistyped name gets the one that was meant; no word of Python's is shown."""
    file = tmp_path / "tidegate.yaml"
    file.write_text("pertitions: 4\ntick_ms: soon\n")
    with pytest.raises(DefinitionError) as caught:
        load_settings(file)
    assert caught.value.faults == (
        f"{file}: unknown setting 'pertitions'; did you mean partitions?",
        f"{file}: tick_ms: must be a number, is 'soon'",
    )
    with pytest.raises(DefinitionError) as caught:
        load_settings(tmp_path / "nowhere.yaml")
    assert caught.value.faults == ("No such file or directory",)
