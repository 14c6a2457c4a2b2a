"""An instance under command: what it obeys, what it leaves alone, what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.agents.waiting import wait_for
from tidegate.agents.client import Client, ClientOptions
from tidegate.agents.client.deployments import Instance
from tidegate.agents.commands.logs import experiment_partition
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import Applied, Command, ModelServer

NAME = "ranker"
NOW_MS = 1_700_000_000_000


@dataclass
class Memory:
    """A host whose model servers are entries of a map; `v9` cannot be started."""

    running: dict[tuple[str, str], str] = field(default_factory=lambda: {("ranker", "v1"): "OK"})
    seen_loaded: list[Any] = field(default_factory=list)
    look: Callable[[], Any] = lambda: None

    def servers(self) -> list[ModelServer]:
        """What runs."""
        return [
            ModelServer(model=model, version=version, health=health)
            for (model, version), health in sorted(self.running.items())
        ]

    def start(self, model: str, version: str, artifact: str) -> None:
        """Runs a version."""
        if version == "v9":
            raise RuntimeError("exit code 3")
        self.running[model, version] = "OK"

    def end(self, model: str, version: str) -> None:
        """Ends it; what the client took for loaded then is noted."""
        self.seen_loaded.append(self.look())
        self.running.pop((model, version), None)

    def ask(self, model: str, version: str, request: Any) -> Any:
        """Twice what was asked."""
        return {"score": 2 * request["x"], "version": version}


class Scene:
    """A real client on a broker, an instance of it, and a decider's part played by the test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.partition = experiment_partition(settings, NAME)
        self._producer = new_producer(settings)
        self.client = Client(settings=settings, options=ClientOptions(instance="i1"))
        assert self.client.wait_ready(60)
        self.host = Memory()
        self.host.look = lambda: self.client._tables._answers(NAME)
        self.instance = Instance(self.client, NAME, self.host, beat_seconds=0.5)
        self.await_word(lambda word: word.kind in ("CHANGE", "HEARTBEAT"))

    def close(self) -> None:
        """The instance leaves, then the client."""
        self.instance.close()
        self.client.close()

    def command(self, number: int, kind: str, **arguments: str) -> None:
        """A command to everybody, unless the arguments say otherwise."""
        given = {"instance": "", "variant": "b", "model": "ranker", "version": "v2", **arguments}
        self.send(number, kind, given)

    def send(self, number: int, kind: str, arguments: dict[str, str], **changes: Any) -> None:
        """A command as it is."""
        fields: dict[str, Any] = {
            "command_id": f"{NAME}/0/{number}/0", "experiment": NAME, "generation": 2,
            "kind": kind, "arguments": arguments, "reason": "", "decision_id": f"{NAME}/0/{number}",
        }  # fmt: skip
        value = encode(Command(**{**fields, **changes}))
        topic = self.settings.topic("commands")
        self._producer.produce(topic, value, NAME.encode(), self.partition)
        assert self._producer.flush(20) == 0

    def words(self) -> list[Applied]:
        """What the instance said so far."""
        found = [
            decode_as(Applied, record.value)
            for record in read_topic(self.settings, "applied", [self.partition])
            if record.value is not None
        ]
        return [word for word in found if word.servers is not None]

    def await_word(self, wanted: Callable[[Applied], bool]) -> Applied:
        """The first word that is wanted."""
        found: list[Applied] = []

        def there() -> bool:
            found[:] = filter(wanted, self.words())
            return bool(found)

        wait_for(there, 60)
        return found[0]

    def answer(self, number: int) -> Applied:
        """The word that answers a command."""
        return self.await_word(lambda word: word.command_id == f"{NAME}/0/{number}/0")


@pytest.fixture
def scene(embedded_settings: Settings) -> Iterator[Scene]:
    """An instance that runs v1."""
    made = Scene(embedded_settings)
    yield made
    made.close()


def versions(word: Applied) -> list[str]:
    """What runs, by its word."""
    return [item.version for item in word.servers or ()]


def test_it_deploys_replaces_asks_and_ends(scene: Scene) -> None:
    """Each command does its part, and the word that answers it has all that runs."""
    scene.command(1, "DEPLOY")
    done = scene.answer(1)
    assert (done.outcome, versions(done), done.instance) == ("DONE", ["v1", "v2"], "i1")
    case = '{"expect":{"score":4},"request":{"x":2},"tolerance":0}'
    wrong = '{"expect":{"score":5},"request":{"x":2},"tolerance":0.5}'
    scene.command(2, "SMOKE", **{"case.0": case})
    assert scene.answer(2).outcome == "PASSED"
    scene.command(3, "SMOKE", **{"case.0": case, "case.10": wrong, "case.2": case})
    failed = scene.answer(3)
    assert (failed.outcome, failed.detail) == ("FAILED", "case 10.score is 4, expected 5")
    scene.command(4, "RETIRE", version="v1")
    assert versions(scene.answer(4)) == ["v2"]
    back = {"version": "v1", "replaces_model": "ranker", "replaces_version": "v2"}
    scene.command(5, "DEPLOY", **back)
    assert versions(scene.answer(5)) == ["v1"]


def test_no_request_is_given_to_a_server_that_ends(scene: Scene) -> None:
    """Before a host ends a version, the client takes it for loaded no longer."""
    scene.command(1, "DEPLOY")
    scene.answer(1)
    scene.command(2, "STOP", version="v1")
    scene.answer(2)
    assert scene.host.seen_loaded == [frozenset({("ranker", "v2")})]


def test_two_instances_on_one_client_are_loaded_apart(scene: Scene) -> None:
    """Each tells of its own experiment, and neither of those that have no instance here."""
    host, pricer = Memory({("pricer", "v7"): "OK"}), frozenset({("pricer", "v7")})
    other = Instance(scene.client, "pricer", host, beat_seconds=0.5)
    try:
        wait_for(lambda: scene.client._tables._answers("pricer") == pricer, 60)
        scene.command(1, "DEPLOY")
        scene.answer(1)
        loaded = frozenset({("ranker", "v1"), ("ranker", "v2")})
        wait_for(lambda: scene.client._tables._answers(NAME) == loaded, 60)
        assert scene.client._tables._answers("pricer") == pricer
        assert scene.client._tables._answers("without instance") is None
    finally:
        other.close()


def test_what_fails_is_said_with_its_words(scene: Scene) -> None:
    """A host's error is the answer; the instance goes on."""
    scene.command(1, "START", version="v9")
    failed = scene.answer(1)
    assert (failed.outcome, failed.detail) == ("FAILED", "exit code 3")
    scene.command(2, "SMOKE")
    assert scene.answer(2).detail == "no case was given"


def test_what_is_not_its_business_is_left_alone(scene: Scene) -> None:
    """Other instances' and experiments' commands, copies, expired ones, older generations."""
    beat = {"partition": "0", "log_time": str(NOW_MS), "watermark": "0"}
    scene.send(0, "HEARTBEAT", beat, command_id="heartbeat", experiment="", generation=0)
    wait_for(lambda: scene.client.log_time_ms == NOW_MS, 60)
    arguments = {"instance": "", "variant": "b", "model": "ranker", "version": "v2"}
    scene.send(1, "DEPLOY", {**arguments, "instance": "i2"})
    scene.send(2, "DEPLOY", arguments, experiment="another")
    scene.send(3, "DEPLOY", arguments, expires_at=NOW_MS - 1)
    scene.send(4, "STATUS", arguments)
    scene.send(5, "RETIRE", {**arguments, "version": "v7"}, expires_at=NOW_MS)
    scene.send(5, "RETIRE", {**arguments, "version": "v7"}, expires_at=NOW_MS)
    scene.send(6, "DEPLOY", arguments, generation=1)
    scene.send(7, "RETIRE", {**arguments, "version": "v8"})
    scene.answer(7)
    assert dict(scene.instance.counters) == {
        "commands_for_others": 1, "commands_of_others": 2, "commands_expired": 1,
        "commands_obeyed": 2, "commands_repeated": 1, "commands_of_old_generation": 1,
    }  # fmt: skip
    assert list(scene.host.running) == [("ranker", "v1")]


def test_it_says_what_changed_at_once_and_says_goodbye(scene: Scene) -> None:
    """Health is told without being asked, words are whole, the last one takes leave."""
    scene.host.running["ranker", "v1"] = "DEGRADED"
    word = scene.await_word(lambda word: word.health == "DEGRADED")
    assert word.servers == (ModelServer(model="ranker", version="v1", health="DEGRADED"),)
    assert word.kind == "CHANGE"
    began = len(scene.words())
    wait_for(lambda: len(scene.words()) > began + 1, 60)
    scene.instance.close()
    wait_for(lambda: scene.words()[-1].kind == "GOODBYE", 60)
