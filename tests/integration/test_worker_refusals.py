"""Workers that must not start: the exit code, and the words that say what mends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.agents.counting import worker_process
from tidegate.agents.settings import Settings


def refusal(settings: Settings, log: Path, role: str = "joiner") -> tuple[int, str]:
    """Exit code and log of a worker that ends by itself."""
    with worker_process(settings, role, log) as worker:
        code = worker.wait(60)
    return code, log.read_text()


@pytest.mark.parametrize("role", ["joiner", "ticker"])
def test_no_broker(role: str, tmp_path: Path) -> None:
    """Exit 3, saying where it looked."""
    settings = Settings(
        kafka={"bootstrap.servers": "127.0.0.1:9"}, prefix="none.", state_dir=tmp_path
    )
    code, text = refusal(settings, tmp_path / "log", role)
    assert code == 3
    assert "127.0.0.1:9" in text


def test_missing_topics(settings: Settings, tmp_path: Path) -> None:
    """Exit 2, naming topics and command."""
    code, text = refusal(replace(settings, prefix="nothing-here."), tmp_path / "log")
    assert code == 2
    assert "nothing-here.predictions: is missing" in text
    assert "tidegate topics apply" in text


def test_other_partition_counts(settings: Settings, tmp_path: Path) -> None:
    """Exit 2 when the settings ask for other partition counts than the topics have."""
    code, text = refusal(replace(settings, partitions=3), tmp_path / "log")
    assert code == 2
    assert "has 4 partitions, not 3" in text


@pytest.mark.kafka
def test_unequal_partitions(kafka_settings: Settings, tmp_path: Path) -> None:
    """Exit 2 when one merged topic has more partitions than the others."""
    admin = AdminClient({"bootstrap.servers": kafka_settings.bootstrap})
    name = kafka_settings.topic("outcomes")
    admin.create_partitions([NewPartitions(name, 6)])[name].result()
    code, text = refusal(kafka_settings, tmp_path / "log")
    assert code == 2
    assert "unequal partitions" in text


def test_an_open_address(embedded_settings: Settings, tmp_path: Path) -> None:
    """Exit 2 when health and metrics would be told to everybody."""
    code, text = refusal(replace(embedded_settings, web_host="0.0.0.0"), tmp_path / "log")
    assert code == 2
    assert "loopback only" in text
