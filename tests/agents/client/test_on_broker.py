"""The client on Kafka: tables, rollbacks, confirmations, and what it does while Kafka is away."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents.client.cluster import Decider, eventually
from tidegate.agents.client import Client, ClientOptions, InForce
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.infra.brokers import EmbeddedBroker
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import Command, Outcome, Prediction
from tidegate.streams.assignment import Assignment

HALVES = {"a": 5_000, "b": 5_000}
OPTIONS = ClientOptions(heartbeat_seconds=0.2)
NewClient = Callable[..., Client]


@pytest.fixture
def new_client() -> Iterator[NewClient]:
    """Makes clients that are closed in the end."""
    made: list[Client] = []

    def make(settings: Settings, options: ClientOptions = OPTIONS) -> Client:
        made.append(Client(settings=settings, options=options))
        return made[-1]

    yield make
    for client in made:
        client.close(1.0)


def test_tables_and_rollbacks_are_obeyed_and_confirmed(
    settings: Settings, new_client: NewClient
) -> None:
    """A table, then a ROLLBACK straight from control: each applied, and said so with its names."""
    decider, client = Decider(settings), new_client(settings)
    changes: list[InForce] = []
    client.on_change(changes.append)
    assert client.wait_ready(60)
    decider.publish(HALVES)
    eventually(lambda: client.assign("ranker", "u").reason == "SPLIT")
    decider.control("ROLLBACK", "b")
    eventually(lambda: client.routing("ranker").rolled_back == ("b",))
    assert {client.assign("ranker", str(i)).variant for i in range(200)} == {"a"}
    assert [item.rolled_back for item in changes] == [(), ("b",)]
    eventually(lambda: len(decider.applied()) == 2)
    first, second = decider.applied()
    assert (first.experiment, first.version, first.rolled_back) == ("ranker", 7, ())
    assert (second.version, second.generation, second.rolled_back) == (7, 2, ("b",))
    eventually(lambda: len(decider.applied("HEARTBEAT")) >= settings.decision_partitions)
    client.close()
    assert len(decider.applied("GOODBYE")) == settings.decision_partitions


def test_a_cold_client_obeys_rollbacks_of_before(
    embedded_settings: Settings, new_client: NewClient
) -> None:
    """Zombie tables behind the newest, tombstones, ticks and junk: the variant never answers."""
    decider = Decider(embedded_settings)
    decider.publish(HALVES, version=9)
    decider.control("ROLLBACK", "b")
    decider.publish({"a": 0, "b": 10_000}, version=8)
    decider.write("routing", "ranker/0/000000000001", None)
    decider.write("control", "ranker", None)
    client = new_client(embedded_settings)
    seen = set()
    while not client.wait_ready(0.001):
        seen.add(client.assign("ranker", "u", default="a").variant)
    seen |= {client.assign("ranker", str(i)).variant for i in range(200)}
    assert seen == {"a"}
    assert client.routing("ranker").rolled_back == ("b",)


def test_events_arrive_where_their_request_lives(
    settings: Settings, new_client: NewClient
) -> None:
    """Prediction and outcome of a request stand in the same partition number."""
    client = new_client(settings)
    sent = {client.predict("ranker", f"u{i}", None, {"a": lambda _: 0.5}).request_id
            for i in range(20)}  # fmt: skip
    for name in sent:
        assert client.outcome(name, "conversion", 1.0)
    assert client.close(20) == 0
    places: list[dict[str, int]] = []
    kinds: tuple[tuple[str, type[Prediction] | type[Outcome]], ...] = (
        ("predictions", Prediction), ("outcomes", Outcome),
    )  # fmt: skip
    for topic, kind in kinds:
        records = [item for item in read_topic(settings, topic) if item.value is not None]
        places.append({decode_as(kind, r.value).request_id: r.partition for r in records})
    assert places[0] == places[1]
    assert set(places[0]) == sent
    assert len(set(places[0].values())) > 1


def test_heartbeats_make_fresh_and_silence_makes_stale(
    embedded_settings: Settings, new_client: NewClient
) -> None:
    """With Kafka alive and no decider the table holds, marked stale."""
    decider = Decider(embedded_settings)
    client = new_client(
        embedded_settings, replace(OPTIONS, fresh_seconds=0.5, max_staleness_seconds=1.0)
    )
    assert client.wait_ready(60)
    decider.publish(HALVES)
    eventually(lambda: client.routing("ranker").routing is not None)
    assert client.routing("ranker").stale
    decider.command()
    eventually(lambda: not client.routing("ranker").stale)
    eventually(lambda: client.routing("ranker").stale)
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        answer = client.assign("ranker", "u")
        assert answer.reason == "SPLIT"
        time.sleep(0.02)
    assert answer.stale


def test_other_commands_go_to_whoever_asked(
    embedded_settings: Settings, new_client: NewClient
) -> None:
    """DEPLOY reaches every callback, also after one that raised; heartbeats reach none."""
    decider, client = Decider(embedded_settings), new_client(embedded_settings)
    heard: list[Command] = []

    def broken(command: Command) -> None:
        raise RuntimeError(command.kind)

    client.on_command(broken)
    client.on_command(heard.append)
    assert client.wait_ready(60)
    decider.command()
    decider.command("DEPLOY", variant="b")
    eventually(lambda: heard)
    assert [(item.kind, item.arguments) for item in heard] == [("DEPLOY", {"variant": "b"})]


def test_kafka_away_and_back(new_client: NewClient, tmp_path: Path) -> None:
    """Down: the last table until max_staleness, then control. Back: obeys, and says all again."""
    with EmbeddedBroker() as broker:
        broker.create_topics(dict.fromkeys(
            ("t.routing", "t.control", "t.commands", "t.applied", "t.predictions"), 4
        ))
        settings = Settings(
            kafka={"bootstrap.servers": broker.bootstrap, "reconnect.backoff.max.ms": "200"},
            prefix="t.", state_dir=tmp_path,
        )
        decider = Decider(settings)
        client = new_client(
            settings, replace(OPTIONS, fresh_seconds=0.5, max_staleness_seconds=2.0)
        )
        assert client.wait_ready(60)
        decider.publish({"a": 0, "b": 10_000})
        eventually(lambda: client.assign("ranker", "u").variant == "b")
        broker.kill()
        answers: list[Assignment] = []
        while not answers or answers[-1].variant == "b":
            answers.append(client.assign("ranker", "u"))
            time.sleep(0.01)
        assert (answers[-1].variant, answers[-1].reason) == ("a", "STALE")
        assert client.predict("ranker", "u", None, {"a": lambda _: 1, "b": lambda _: 2}).value == 1
        broker.restart()
        eventually(lambda: client.assign("ranker", "u").variant == "b", 30)
        decider.control("ROLLBACK", "b")
        eventually(lambda: client.routing("ranker").rolled_back == ("b",), 30)
        eventually(lambda: decider.applied()[-1].rolled_back == ("b",), 30)


def test_a_restarted_process_serves_from_its_cache(
    new_client: NewClient, tmp_path: Path
) -> None:
    """Rolled back before the restart, Kafka gone since: still rolled back."""
    with EmbeddedBroker() as broker:
        broker.create_topics(dict.fromkeys(
            ("t.routing", "t.control", "t.commands", "t.applied"), 4
        ))
        settings = Settings(
            kafka={"bootstrap.servers": broker.bootstrap}, prefix="t.", state_dir=tmp_path
        )
        decider, first = Decider(settings), new_client(settings)
        assert first.wait_ready(20)
        decider.publish(HALVES)
        decider.control("ROLLBACK", "b")
        eventually(lambda: first.routing("ranker").rolled_back == ("b",))
        eventually(lambda: first.routing("ranker").routing is not None)
        first.close()
    second = new_client(settings)
    assert {second.assign("ranker", str(i)).reason for i in range(200)} == {"SPLIT", "ROLLED_BACK"}
    assert {second.assign("ranker", str(i)).variant for i in range(200)} == {"a"}


FORK = """
import os, sys, time
from pathlib import Path
from tidegate.agents.client import Client, ClientOptions
from tidegate.agents.settings import Settings

settings = Settings(kafka={"bootstrap.servers": sys.argv[1]}, prefix=sys.argv[2],
                    state_dir=Path(sys.argv[3]))
named = {"instance": sys.argv[4]} if sys.argv[4] else {}
client = Client(settings=settings, options=ClientOptions(heartbeat_seconds=0.2, **named))
assert client.wait_ready(60)
while client.routing("ranker").routing is None:
    time.sleep(0.01)
drawn = [client.assign("ranker", str(i)).variant for i in range(500)]
child = os.fork()
# At once: the rollback is ordered as soon as both have been heard.
assert [client.assign("ranker", str(i)).variant for i in range(500)] == drawn
assert client.wait_ready(60)
client.predict("ranker", f"unit-{child > 0}", None, {"a": lambda _: 1, "b": lambda _: 2})
deadline = time.monotonic() + 120
while not client.routing("ranker").rolled_back and time.monotonic() < deadline:
    time.sleep(0.01)
assert client.routing("ranker").rolled_back == ("b",)
unsent = client.close(10)
assert unsent == 0, unsent
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("name", ["", "web-7"])
def test_a_forked_process_is_a_client_of_its_own(
    embedded_settings: Settings, tmp_path: Path, name: str
) -> None:
    """Parent and child draw alike, hear the same rollback, and confirm under two ids.

    Each names its own process, unless a name was given: that is kept by both.
    """
    decider = Decider(embedded_settings)
    decider.publish(HALVES)
    process = subprocess.Popen([
        sys.executable, "-c", FORK, embedded_settings.bootstrap, embedded_settings.prefix,
        str(tmp_path), name,
    ])
    try:
        eventually(lambda: len({item.client_id for item in decider.applied("HEARTBEAT")}) == 2, 40)
        decider.control("ROLLBACK", "b")
        assert process.wait(150) == 0
    finally:
        process.kill()
        process.wait()
    confirmed = {item.client_id for item in decider.applied() if item.rolled_back == ("b",)}
    assert len(confirmed) == 2
    instances = {item.instance for item in decider.applied("HEARTBEAT")}
    if name:
        assert instances == {name}
    else:
        assert len(instances) == 2
    records = read_topic(embedded_settings, "predictions")
    units = {decode_as(Prediction, item.value).unit_id for item in records if item.value}
    assert units == {"unit-True", "unit-False"}
