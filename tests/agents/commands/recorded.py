"""Logs as agents leave them, written by hand, and the command line run on them in-process."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.schemas.samples import event, example
from tidegate.agents.commands.logs import experiment_partition
from tidegate.agents.settings import Settings
from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.codec import encode
from tidegate.schemas.events import Event
from tidegate.schemas.marks import tick_headers
from tidegate.schemas.partitioner import partition_of

NAME = "click-ranker"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


class Recorder:
    """Writes records and marks into the topics of `settings`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._producer = Producer({**settings.kafka, "log_level": 0})

    def put(self, topic: str, value: Event | bytes, key: str = NAME, partition: int = -1) -> None:
        """One record; partitioned by experiment unless a partition is given."""
        chosen = experiment_partition(self.settings, NAME) if partition < 0 else partition
        data = value if isinstance(value, bytes) else encode(value)
        name = self.settings.topic(topic)
        self._producer.produce(name, data, key.encode(), chosen)
        self._producer.flush(10)

    def request(self, topic: str, value: Event, request_id: str) -> None:
        """One record about a request."""
        partition = partition_of(request_id.encode(), self.settings.partitions)
        self.put(topic, value, request_id, partition)

    def tick(self, topic: str, log_time_ms: int) -> None:
        """A tick in the experiment's partition of a topic."""
        partition = experiment_partition(self.settings, NAME)
        headers: list[tuple[str, str | bytes | None]] = [*tick_headers(log_time_ms)]
        name = self.settings.topic(topic)
        self._producer.produce(name, None, None, partition, headers=headers)
        self._producer.flush(10)

    def decide(self, version: int, action: str = "APPLY", **fields: Any) -> Event:
        """A decision of the experiment."""
        given = {
            "decision_id": f"{NAME}/1/{version}", "version": version, "action": action,
            "decided_at": now_ms(), **fields,
        }  # fmt: skip
        decision = event("decision", **given)
        self.put("decisions", decision)
        return decision

    def view(self, view: Mapping[str, Any]) -> None:
        """A published view."""
        text = canonical_json(view)
        pieces = {
            f"view.{start // 1_000}": text[start : start + 1_000]
            for start in range(0, len(text), 1_000)
        }
        command = event("command", kind="STATUS", experiment=NAME, arguments=pieces)
        self.put("commands", command)


def now_ms() -> int:
    """Wall time."""
    return time.time_ns() // 1_000_000


def run(settings: Settings, capsys: pytest.CaptureFixture[str], *words: str) -> Answer:
    """Run `tidegate WORDS` in this process against the broker of `settings`."""
    from tidegate.agents.commands.main import app

    capsys.readouterr()
    given = [*words, "--bootstrap", settings.bootstrap, "--prefix", settings.prefix]
    with pytest.raises(SystemExit) as caught:
        app(given)
    printed = capsys.readouterr()
    code = caught.value.code
    return Answer(code if isinstance(code, int) else 0, printed.out, printed.err)


def table(**fields: Any) -> Event:
    """The example's routing table."""
    return event("routing", **{**example("routing"), **fields})
