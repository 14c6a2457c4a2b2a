"""agents/app.py"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport import drivers
from mode.supervisors import CrashingSupervisor

import tidegate.agents
from tests.agents.transport.recording import RecordingFlow
from tests.agents.transport.workers import Stopped, raising
from tidegate.agents.app import SCHEMES, WorkerApp, build_app, feeder
from tidegate.agents.settings import Settings
from tidegate.agents.transport import AiokafkaTransport, HybridTransport
from tidegate.schemas.errors import DefinitionError

TOPICS = ["x.a", "x.b", "x.c"]
SOURCES = Path(tidegate.agents.__file__).resolve().parent


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that touch nothing of this machine."""
    return Settings(
        kafka={"bootstrap.servers": "one:1,two:2"},
        prefix="x.",
        state_dir=tmp_path,
        instance_id="pod-3",
        session_timeout_seconds=20.0,
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[WorkerApp]:
    """An app that is not started."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield build_app(settings, "joiner", TOPICS, RecordingFlow(), raising)
    asyncio.set_event_loop(None)
    loop.close()


def test_the_fetcher_names_the_transport(settings: Settings) -> None:
    """Both schemes are found by Faust through their entry points."""
    assert drivers.by_url(f"{SCHEMES['librdkafka']}://") is HybridTransport
    assert drivers.by_url(f"{SCHEMES['aiokafka']}://") is AiokafkaTransport


def test_an_unknown_fetcher_is_refused(settings: Settings) -> None:
    """The message says which there are."""
    with pytest.raises(DefinitionError, match="aiokafka, librdkafka"):
        build_app(replace(settings, fetcher="carrier pigeon"), "joiner", TOPICS, RecordingFlow())


def test_settings_that_the_folds_rely_on(app: WorkerApp) -> None:
    """H13, H14, H16 and the rest of Faust's defaults that would break a deterministic fold."""
    conf = app.conf
    assert conf.id == "x.joiner"
    assert [(url.host, url.port) for url in conf.broker] == [("one", 1), ("two", 2)]
    assert conf.stream_wait_empty
    assert conf.table_standby_replicas >= 1
    assert str(conf.processing_guarantee.value) == "at_least_once"
    assert not conf.web_enabled
    assert not conf.topic_allow_declare
    assert conf.topic_disable_leader
    assert conf.consumer_auto_offset_reset == "none"
    assert conf.consumer_group_instance_id == "pod-3"
    assert conf.broker_session_timeout == 20.0
    assert conf.broker_heartbeat_interval * 3 <= conf.broker_session_timeout
    assert conf.broker_session_timeout <= conf.broker_request_timeout


def test_one_agent_reads_all_topics_from_one_short_queue(app: WorkerApp) -> None:
    """H2, H3, H9: no second reader, no agent that waits for another, no restart after a crash."""
    [agent] = app.agents.values()
    assert agent.concurrency == 1
    assert agent.supervisor_strategy is CrashingSupervisor
    assert list(agent.channel.topics) == TOPICS
    assert agent.channel.queue.maxsize == 2
    assert not app.tables


class StubStream:
    """A stream of one event that notes what the agent does with it."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.without_acks = False

    def noack(self) -> StubStream:
        """As Faust's."""
        self.without_acks = True
        return self

    async def events(self) -> AsyncIterator[Any]:
        """One event of the second topic."""
        assert self.without_acks
        message = SimpleNamespace(topic="x.b", partition=3)
        self.log.append("received")
        yield SimpleNamespace(message=message, value="a fetch")
        self.log.append("asked for more")

    async def ack(self, event: Any) -> None:
        """Note the acknowledgement."""
        self.log.append(f"acknowledged {event.value}")


class StubFlow(RecordingFlow):
    """A flow that notes what it is fed, or raises."""

    def __init__(self, log: list[str], error: Exception | None = None) -> None:
        super().__init__()
        self.log = log
        self.error = error

    def feed(self, topic: str, partition: int, fetched: Any) -> None:
        """Note or raise."""
        self.log.append(f"fed {topic} {partition} {fetched}")
        if self.error is not None:
            raise self.error


def test_nothing_waits_between_receiving_a_batch_and_acknowledging_it() -> None:
    """H13: a rebalance runs where something waits, and would find the batch half done."""
    log: list[str] = []
    agent = feeder(StubFlow(log), raising)(StubStream(log))
    with pytest.raises(StopIteration):
        agent.send(None)
    assert log == ["received", "fed x.b 3 a fetch", "acknowledged a fetch", "asked for more"]


def test_a_batch_that_cannot_be_folded_ends_the_process_before_it_is_acknowledged() -> None:
    """H3: Faust acknowledges an event whose handler raised, and goes on."""
    log: list[str] = []
    agent = feeder(StubFlow(log, ValueError("unforeseen")), raising)(StubStream(log))
    with pytest.raises(Stopped, match=r"x\.b/3 cannot be folded"):
        agent.send(None)
    assert log == ["received", "fed x.b 3 a fetch"]


def test_values_reach_the_agent_as_the_transport_made_them(app: WorkerApp) -> None:
    """No serializer of Faust touches them; pickle is one of Faust's."""
    [agent] = app.agents.values()
    message = SimpleNamespace(key=None, value=object())
    assert agent.channel.schema.loads_value(app, message) is message.value
    assert agent.channel.schema.loads_key(app, message) is None


@pytest.mark.parametrize(
    ("pattern", "home"),
    [
        (r"\bfaust\.App\b|\bWorkerApp\(", "app.py"),
        (r"\.Table\(|\.GlobalTable\(|exactly_once", None),
        (r"\bimport uvloop\b", None),
    ],
)
def test_where_faust_is_used(pattern: str, home: str | None) -> None:
    """H16, H20: one place makes apps; tables, transactions and Faust's codecs are not used."""
    users = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert users == ({home} if home else set())
