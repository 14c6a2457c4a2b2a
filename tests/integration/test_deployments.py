"""Blue/green, rolling, recreate and a canary of instances, on real Apache Kafka.

Serving and model processes are real. One worker; two instances for each release, each the reference
agent of `examples/` with model servers as processes of their own; users that try the other instance
when one has no answer.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.agents.counting import ROOT, environment_of
from tests.agents.waiting import wait_for
from tidegate.agents.commands.logs import experiment_partition
from tidegate.agents.kafka import Tail, new_producer, read_topic
from tidegate.agents.replay import Replay
from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics
from tidegate.infra.brokers import Broker
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import Control, Decision
from tidegate.schemas.manifest.spec import ExperimentSpec

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE_SECONDS = 240.0
"""For a machine on which many things run; alone a release takes some 15 s."""
GOOD = {"ranker/v1": {"slope": 1.0}, "ranker/v2": {"slope": 2.0}}
REQUEST = {"a": 1.0, "b": 3.0}
SMOKE = {"smoke": [{"request": REQUEST, "expect": {"score": 4.0, "version": "v2"}}]}
ERRORS = {"field": "status", "type": "rate", "goal": "decrease"}
BOUND = {"metric": "errors", "max": "2%", "min_samples": 100, "on_breach": "rollback"}
COMPARED = {
    "metric": "errors", "compare": "control", "worse_by": "5pp", "min_samples": 50,
    "on_breach": "rollback",
}  # fmt: skip

INSTANCES = {"weight": "50%", "cap": "50%", "hold": "2s", "rolling": {"health_timeout": "20s"}}
REST = {"rolling": {"hold": "1s", "health_timeout": "20s", "instances": 2}}


class Users(threading.Thread):
    """Ask the instances in turn; a user has an error when no instance answers."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(name="users", daemon=True)
        self._ports = ports
        self._stopped = threading.Event()
        self.seen: Counter[str] = Counter()
        self.values: dict[str, set[float]] = {}

    def run(self) -> None:
        """About 60 requests a second until stopped."""
        number = 0
        while not self._stopped.wait(1 / 60):
            number += 1
            self._ask(number)

    def finish(self) -> None:
        """No more requests."""
        self._stopped.set()
        self.join(20)

    def _ask(self, number: int) -> None:
        body = json.dumps({"unit": f"user-{number % 500}", "features": REQUEST}).encode()
        for attempt in range(len(self._ports)):
            port = self._ports[(number + attempt) % len(self._ports)]
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body)
            try:
                with urllib.request.urlopen(asked, timeout=5) as answer:
                    found = json.load(answer)
            except (urllib.error.HTTPError, OSError):
                continue
            self.seen[f"{found['variant']} {found['reason']}"] += 1
            self.values.setdefault(found["variant"], set()).add(found["value"])
            return
        self.seen["no answer"] += 1


class Stage:
    """A worker on fresh topics; releases with instances of their own."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.settings = Settings(
            kafka={"bootstrap.servers": broker.bootstrap},
            prefix=f"test-{uuid.uuid4().hex[:8]}.",
            partitions=2,
            decision_partitions=1,
            state_dir=folder / "state",
            grace_ms=500,
        )
        apply_topics(self.settings, broker)
        self._folder = folder
        self._stack = ExitStack()
        self._producer = new_producer(self.settings)
        self._run(folder / "worker.log", "-m", "tidegate", "worker")

    def close(self) -> None:
        """Ends every process that was started."""
        self._stack.close()

    def await_decider(self) -> None:
        """Until orders are heard and time moves."""
        with Tail(self.settings, ["commands"]) as tail:
            wait_for(
                lambda: any(record.value is not None for record in tail.poll(0.5)),
                PATIENCE_SECONDS,
            )

    def release(
        self, step: Mapping[str, Any], *guardrails: Mapping[str, Any],
        then: Sequence[Mapping[str, Any]] = (),
    ) -> Release:  # fmt: skip
        """A release that is not applied yet; instances run the old version, for a while."""
        return Release(self, [{"pause": {"duration": "2s"}}, step, *then], guardrails)

    def order(self, experiment: str, action: str, **fields: Any) -> None:
        """A control record of a person."""
        value = encode(
            Control(
                control_id=uuid.uuid4().hex,
                experiment=experiment,
                action=action,
                actor="ann",
                role="owner",
                reason="a test",
                issued_at=time.time_ns() // 1_000_000,
                **fields,
            )
        )
        partition = experiment_partition(self.settings, experiment)
        topic = self.settings.topic("control")
        self._producer.produce(topic, value, experiment.encode(), partition)
        assert self._producer.flush(20) == 0

    def start_instance(
        self, experiment: str, name: str, versions: Mapping[str, Any]
    ) -> tuple[subprocess.Popen[bytes], Path]:
        """An agent; its process, and the file with its port once it is there."""
        folder = self._folder / experiment / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "versions.json").write_text(json.dumps(versions), encoding="utf-8")
        port_file = folder / "port"
        port_file.unlink(missing_ok=True)
        process = self._run(
            folder / "log", str(ROOT / "examples" / "instance_agent.py"),
            "--experiment", experiment, "--instance", name,
            "--versions", str(folder / "versions.json"), "--run", "ranker/v1",
            "--state", str(folder / "models"), "--port-file", str(port_file),
        )  # fmt: skip
        return process, port_file

    def decisions(self, experiment: str) -> list[Decision]:
        """All decisions about one experiment, each once."""
        found = {}
        for record in read_topic(self.settings, "decisions"):
            decision = decode_as(Decision, record.value)
            if decision.experiment == experiment:
                found[decision.decision_id] = decision
        return list(found.values())

    def _run(self, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
        stream = self._stack.enter_context(log.open("ab"))
        environment = environment_of(
            self.settings, {"TIDEGATE_GRACE_MS": str(self.settings.grace_ms)}
        )
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)},
            stderr=stream, stdout=stream,
        )  # fmt: skip

        def end() -> None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self._stack.callback(end)
        return process


class Release:
    """One experiment with two instances and its users."""

    def __init__(
        self,
        stage: Stage,
        steps: Sequence[Mapping[str, Any]],
        guardrails: tuple[Mapping[str, Any], ...],
    ) -> None:
        self.name = f"ranker-{uuid.uuid4().hex[:6]}"
        self._stage = stage
        self.spec = ExperimentSpec.model_validate(
            {
                "unit": {"key": "user"},
                "control": "champion",
                "variants": {
                    "champion": {"model": "ranker", "version": "v1"},
                    "challenger": {"model": "ranker", "version": "v2"},
                },
                "metrics": {"errors": ERRORS},
                "guardrails": list(guardrails),
                "release": list(steps),
            }
        )
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.users: Users | None = None

    def start(self, **versions: Mapping[str, Any]) -> Users:
        """Instances `i1` and `i2` with what they can run, then users, then the manifest."""
        ports = []
        started = [
            self._stage.start_instance(self.name, name, versions.get(name, GOOD))
            for name in ("i1", "i2")
        ]
        for name, (process, port_file) in zip(("i1", "i2"), started, strict=True):
            self.agents[name] = process
            wait_for(lambda file=port_file: file.exists(), PATIENCE_SECONDS)  # type: ignore[misc]
            ports.append(int(port_file.read_text(encoding="ascii")))
        self._stage.order(self.name, "APPLY", spec=self.spec.to_json())
        for port in ports:
            wait_for(lambda at=port: ready(at), PATIENCE_SECONDS)  # type: ignore[misc]
        self.users = Users(ports)
        self.users.start()
        return self.users

    def order(self, action: str) -> None:
        """A person's order."""
        self._stage.order(self.name, action)

    def decisions(self) -> list[Decision]:
        """All decisions so far."""
        return self._stage.decisions(self.name)

    def await_decision(self, action: str, words: str = "") -> Decision:
        """The first decision of an action whose sentence holds the words."""
        found: list[Decision] = []

        def there() -> bool:
            found[:] = [
                each
                for each in self.decisions()
                if each.action == action and words in each.reason
            ]
            return bool(found)

        try:
            wait_for(there, PATIENCE_SECONDS)
        except AssertionError:
            told = [f"{each.action} {each.reason}" for each in self.decisions()]
            raise AssertionError("\n".join(told)) from None
        return found[0]

    def models(self) -> dict[str, list[str]]:
        """Versions whose processes really run, by instance, as the operating system tells it."""
        found = {}
        for name, agent in self.agents.items():
            # Without -ww a listing is as wide as a terminal.
            command = ["ps", "-ww", "-o", "args=", "--ppid", str(agent.pid)]
            listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            found[name] = sorted(re.findall(r"--version (\S+)", listed))
        return found


def ready(port: int) -> bool:
    """Whether an instance answers users."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def stage(local_kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One worker for all releases of this module; what it wrote is verified at the end."""
    made = Stage(local_kafka, tmp_path_factory.mktemp("deployments"))
    try:
        made.await_decider()
        yield made
    finally:
        made.close()


def said(release: Release) -> list[str]:
    """What was decided, for a failing test to show."""
    return [f"{each.action} {each.reason}" for each in release.decisions()]


def test_blue_green_to_the_good_end(stage: Stage) -> None:
    """Green is asked before any user, gets everything by one table, and blue's processes end
    after they were kept; no user is without an answer."""
    release = stage.release({"blue_green": {**SMOKE, "keep_previous": "6s", "instances": 2}}, BOUND)
    users = release.start()
    switched = release.await_decision("ADVANCE", "as expected on 2 of 2 instances")
    assert release.models() == {"i1": ["v1", "v2"], "i2": ["v1", "v2"]}
    last = release.await_decision("FINISH")
    users.finish()
    assert release.models() == {"i1": ["v2"], "i2": ["v2"]}
    assert last.weights == {"champion": 0, "challenger": 10_000}
    assert switched.version < last.version
    assert users.seen["no answer"] == 0, said(release)
    assert users.values == {"champion": {2.0}, "challenger": {4.0}}


def test_blue_green_is_never_switched_to_a_wrong_answer(stage: Stage) -> None:
    """One instance's green answers otherwise: FAIL, no user meets it, abort ends its processes."""
    wrong = {**GOOD, "ranker/v2": {"slope": 2.1}}
    release = stage.release({"blue_green": {**SMOKE, "instances": 2}})
    users = release.start(i2=wrong)
    failed = release.await_decision("PAUSE")
    assert failed.verdict == "FAIL"
    assert "i2: case 0.score is 4.2, expected 4.0" in failed.reason
    release.order("ABORT")
    release.await_decision("DEPLOY", "serves alone on 2 of 2 instances")
    users.finish()
    assert release.models() == {"i1": ["v1"], "i2": ["v1"]}
    assert set(users.seen) == {"champion SPLIT"}


def test_blue_green_back_by_one_table(stage: Stage) -> None:
    """Green fails its users: the guardrail rolls back to blue, which is warm; green is retired."""
    failing = {**GOOD, "ranker/v2": {"slope": 2.0, "fail": 0.5}}
    # Clients' breakers cut it after some 20 requests each: few are left to judge by.
    early = {**BOUND, "min_samples": 30}
    release = stage.release({"blue_green": {**SMOKE, "instances": 2}}, early)
    users = release.start(i1=failing, i2=failing)
    back = release.await_decision("ROLLBACK")
    assert "errors" in back.reason
    release.await_decision("DEPLOY", "serves alone on 2 of 2 instances")
    users.finish()
    assert release.models() == {"i1": ["v1"], "i2": ["v1"]}
    # What green could not answer blue did, beside it.
    assert users.seen["no answer"] == 0, said(release)


def test_rolling_to_the_good_end(stage: Stage) -> None:
    """One instance at a time; users of a patched one get its version, nobody is without answer."""
    step = {"rolling": {"hold": "2s", "health_timeout": "20s", "instances": 2}}
    release = stage.release(step, COMPARED)
    users = release.start()
    release.await_decision("DEPLOY", "batch 2")
    assert sorted(release.models().values())[0:2] != [["v1"], ["v1"]]
    release.await_decision("FINISH")
    users.finish()
    assert release.models() == {"i1": ["v2"], "i2": ["v2"]}
    assert users.seen["no answer"] == 0, said(release)
    assert users.seen["challenger INSTANCE"] > 50
    assert users.values == {"champion": {2.0}, "challenger": {4.0}}


def test_rolling_back_in_batches(stage: Stage) -> None:
    """The second instance's new version ends at once: the first goes back as well."""
    broken = {**GOOD, "ranker/v2": {"exit": 3}}
    step = {"rolling": {"health_timeout": "20s", "instances": 2}}
    release = stage.release(step)
    users = release.start(i2=broken)
    back = release.await_decision("ROLLBACK")
    assert "failed on i2: the model server ended with 3" in back.reason
    release.await_decision("DEPLOY", "ranker v1 is well on 2 of 2 instances again")
    users.finish()
    assert release.models() == {"i1": ["v1"], "i2": ["v1"]}


def test_a_canary_of_instances_to_the_good_end(stage: Stage) -> None:
    """One of two instances is patched, held and compared; then the step behind it patches the
    other, and the table follows."""
    release = stage.release({"canary": INSTANCES}, COMPARED, then=[REST])
    users = release.start()
    held = release.await_decision("ADVANCE", "of the instances (1 of 2 instances) held for")
    instances = json.loads(held.evidence)["instances"]
    assert [item["servers"][0]["version"] for item in instances] == ["v2", "v1"]
    assert held.weights == {"champion": 10_000, "challenger": 0}
    release.await_decision("FINISH")
    users.finish()
    assert release.models() == {"i1": ["v2"], "i2": ["v2"]}
    assert users.seen["no answer"] == 0, said(release)
    assert users.values == {"champion": {2.0}, "challenger": {4.0}}


def test_a_canary_of_instances_goes_back(stage: Stage) -> None:
    """The patched instance fails its users: the guardrail rolls back, and it runs the old version
    again; the other was never touched."""
    failing = {**GOOD, "ranker/v2": {"slope": 2.0, "fail": 0.5}}
    # Its client's breaker cuts it after five failures in a row: few are left to judge by.
    early = {**BOUND, "min_samples": 5}
    # Held for so long that it is the canary that fails, and not the step behind it.
    step = {"canary": {**INSTANCES, "hold": "60s"}}
    release = stage.release(step, early, then=[REST])
    users = release.start(i1=failing)
    back = release.await_decision("ROLLBACK")
    assert ("errors" in back.reason, back.step) == (True, 1)
    release.await_decision("DEPLOY", "ranker v1 is well on 2 of 2 instances again")
    users.finish()
    assert release.models() == {"i1": ["v1"], "i2": ["v1"]}
    assert users.seen["no answer"] == 0, said(release)


def test_recreate_to_the_good_end(stage: Stage) -> None:
    """Nothing runs for a while, and how long stands in the decision."""
    slow = {**GOOD, "ranker/v2": {"slope": 2.0, "load_seconds": 1.0}}
    release = stage.release({"recreate": {"timeout": "20s", "instances": 2}}, BOUND)
    users = release.start(i1=slow, i2=slow)
    switched = release.await_decision("ADVANCE", "; downtime")
    release.await_decision("FINISH")
    users.finish()
    assert json.loads(switched.evidence)["downtime_ms"] >= 900
    assert release.models() == {"i1": ["v2"], "i2": ["v2"]}
    assert users.seen["no answer"] > 0
    assert users.values == {"champion": {2.0}, "challenger": {4.0}}


def test_recreate_back(stage: Stage) -> None:
    """One instance cannot start the new version: the old one is started everywhere again."""
    broken = {**GOOD, "ranker/v2": {"exit": 3}}
    release = stage.release({"recreate": {"timeout": "20s", "instances": 2}})
    users = release.start(i1=broken)
    back = release.await_decision("ROLLBACK")
    assert "the model server ended with 3" in back.reason
    release.await_decision("DEPLOY", "ranker v1 is well on 2 of 2 instances again; downtime")
    users.finish()
    assert release.models() == {"i1": ["v1"], "i2": ["v1"]}


def test_an_agent_that_is_killed_takes_its_models_along_and_comes_back(stage: Stage) -> None:
    """SIGKILL in the middle of a rolling step: the release goes back, and no process is left."""
    step = {"rolling": {"hold": "60s", "health_timeout": "10s", "instances": 2}}
    release = stage.release(step)
    users = release.start()
    release.await_decision("DEPLOY", "batch 1")
    wait_for(lambda: release.models()["i1"] == ["v2"], PATIENCE_SECONDS)
    os.kill(release.agents["i1"].pid, signal.SIGKILL)
    # Silent, if it had told that v2 is well there; else not well in time.
    release.await_decision("ROLLBACK", " 10 s")
    users.finish()
    wait_for(lambda: "v2" not in str(release.models()), PATIENCE_SECONDS)


def test_everything_written_is_derived_again(stage: Stage) -> None:
    """An audit of the topics gives every decision, table and command of these releases."""
    report = Replay(stage.settings).run()
    assert report.differences == []
    assert report.incomparable == []
    assert report.tallies["commands"].recorded > 50
    assert report.equal
