"""What must never come back: a variant rolled back, and a step passed on evidence not there.

Both on real Apache Kafka: a client that starts cold on a compacted log into which a decider of
the past wrote again, and a canary whose joiner stands still for a minute.
"""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from tests.agents.commands.recorded import run
from tests.agents.waiting import wait_for
from tests.integration.world import World as Processes
from tests.integration.world import with_short_horizons
from tests.streams.deciding.world import NAME, Group, World
from tidegate.agents.client import Client
from tidegate.agents.commands.logs import experiment_partition
from tidegate.agents.kafka import Record, new_admin, new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.infra.cluster import apply_changes
from tidegate.infra.topics import Change, wanted_topics
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import Command, Decision, Routing
from tidegate.streams.output import Output
from tidegate.streams.routing import weights_of

_log = logging.getLogger(__name__)

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CLEANING_SECONDS_MAX = 60.0
CLEANED_EAGERLY = {
    "segment.ms": "100",
    # Kafka takes no less; it is time that ends these segments.
    "segment.bytes": str(1024 * 1024),
    "min.cleanable.dirty.ratio": "0",
    "max.compaction.lag.ms": "100",
    "delete.retention.ms": "100",
}
SEGMENT_SECONDS = 0.15
"""Longer than a segment lives: the next record begins a new one, and the old can be cleaned."""


class RoutingLog:
    """One experiment's partition of `routing`, written like a decider does, and compacted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.written = 0
        self._partition = experiment_partition(settings, NAME)
        self._producer = new_producer(settings, {"linger.ms": 0})
        counts = (settings.partitions, settings.decision_partitions, settings.replication)
        every = wanted_topics(settings.prefix, *counts)
        wanted = next(each for each in every if each.topic.name == "routing")
        change = Change(wanted, create=False, settings=CLEANED_EAGERLY)
        self._admin = new_admin(settings)
        apply_changes(self._admin, [change])

    def write(self, output: Output) -> None:
        """A record of the decider; `routing` gets a new segment every few records."""
        self._put(output.topic, output.key, output.value)
        if output.topic == "routing":
            self.written += 1
            if self.written % 5 == 0:
                time.sleep(SEGMENT_SECONDS)

    def records(self) -> list[Record]:
        """What `routing` holds of the experiment, tombstones included, in order."""
        found = read_topic(self.settings, "routing", [self._partition])
        return [each for each in found if (each.key or b"").startswith(f"{NAME}/".encode())]

    def compact(self, other: Routing) -> list[Record]:
        """The records when the cleaner has left one of each key and no tombstone.

        The segment that is being written is never cleaned: `other`, a table of another
        experiment, is written until the last record of this one is behind it.
        """

        def is_clean() -> bool:
            time.sleep(SEGMENT_SECONDS)
            self._put("routing", f"{other.experiment}/0/1".encode(), encode(other))
            records = self.records()
            keys = {record.key for record in records if record.value is not None}
            return len(keys) == len(records)

        wait_for(is_clean, CLEANING_SECONDS_MAX)
        return self.records()

    def forget_control(self) -> None:
        """Retention deletes every rollback: now only tables tell of them."""
        # -1: up to the end of the log.
        place = TopicPartition(self.settings.topic("control"), self._partition, -1)
        for future in self._admin.delete_records([place]).values():
            future.result()

    def _put(self, topic: str, key: bytes, value: bytes | None) -> None:
        self._producer.produce(self.settings.topic(topic), value, key, self._partition)
        assert self._producer.flush(10) == 0


def decided_history() -> World:
    """What a real decider writes: a flag is moved, a candidate is rolled back, another goes on."""
    world = World()
    world.apply(candidates=("challenger", "other"))
    for share_bp in range(500, 5_500, 500):
        world.tick(1_000)
        world.order("SET", arguments={"challenger": str(share_bp), "other": "1000"})
    world.observe(Group("champion", 500, 5), Group("challenger", 500, 100))
    for share_bp in range(500, 5_500, 500):
        world.tick(1_000)
        world.order("SET", arguments={"other": str(share_bp)})
    return world


def drawn_cold(settings: Settings, state_dir: Path) -> tuple[set[str], set[int]]:
    """Variants and routing versions that 2,000 units get from a client that knew nothing."""
    state_dir.mkdir()
    with Client(settings=replace(settings, state_dir=state_dir)) as client:
        assert client.wait_ready(30)
        drawn = [client.assign(NAME, f"user-{number}") for number in range(2_000)]
    return {each.variant for each in drawn}, {each.routing_version for each in drawn}


def test_a_cold_client_after_compaction_and_a_zombie(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    """However late an old table is written again, the newest version is in force, without it.

    A zombie decider repeats every table from before the rollback behind all others, and ends
    before it withdraws them; compaction keeps its copies. With and without the rollback on
    `control`, a client without memory gives the variant to nobody.
    """
    world = decided_history()
    tables = world.tables()
    rolled_back = next(table.version for table in tables if table.rolled_back)
    assert [order.arguments for order in world.own_orders()] == [{"variant": "challenger"}]
    log = RoutingLog(kafka_settings)
    outputs = [each for each in world.outputs if each.topic in ("routing", "control")]
    for output in outputs:
        log.write(output)
    kept = len(log.compact(replace(tables[-1], experiment="bystander")))
    assert kept == 2, "the decider withdraws all but its last two tables"

    for output in outputs:
        is_table = output.topic == "routing" and output.value is not None
        if is_table and decode_as(Routing, output.value).version < rolled_back:
            log.write(output)
    left = log.compact(replace(tables[-1], experiment="bystander"))

    assert left[0].offset > 0
    assert kept < len(left) < log.written
    found = [decode_as(Routing, record.value) for record in left]
    assert [table.version for table in found] == [
        tables[-2].version, tables[-1].version, *range(1, rolled_back)
    ]  # fmt: skip
    assert weights_of(found[-1])["challenger"] == 5_000, "who obeys the last record serves it"
    expected = ({"champion", "other"}, {tables[-1].version})
    assert drawn_cold(kafka_settings, tmp_path / "first") == expected
    log.forget_control()
    assert not [each for each in read_topic(kafka_settings, "control") if each.value]
    assert drawn_cold(kafka_settings, tmp_path / "second") == expected


STOP_SECONDS = 60.0
EXIT_BLOCKED = 70
HOLD_MS = 10_000
CONFIRMATION_SECONDS_MAX = 5.0
"""Bounded generously: what matters is that nobody waits for the joiner."""

MANIFEST = f"""
apiVersion: tidegate.dev/v1
kind: Experiment
metadata: {{name: {NAME}}}
spec:
  unit: {{key: user}}
  control: champion
  variants:
    champion: {{model: ranker, version: v1}}
    steady:   {{model: ranker, version: v2}}
    withdrawn: {{model: ranker, version: v3}}
  metrics:
    conversion: {{type: binary, aggregate: first, window: 2s, default: 0, goal: increase}}
    errors: {{field: status, type: rate, goal: decrease}}
  objective: conversion
  guardrails:
    - {{metric: errors, compare: control, worse_by: 5pp, min_samples: 20, on_breach: rollback}}
  release:
    - canary: {{weights: [20%, 40%], cap: 50%, hold: {HOLD_MS}ms, min_samples: 20}}
"""


class Service(threading.Thread):
    """A service that answers up to 25 requests a second with the real client and tells outcomes."""

    def __init__(self, client: Client) -> None:
        super().__init__(name="service", daemon=True)
        self._client = client
        self._stopped = threading.Event()
        self.answers: list[tuple[float, str]] = []
        """When a request came (monotonic, seconds), and which variant answered it."""

    def run(self) -> None:
        """Answer until stopped."""
        draw = random.Random(7)
        models = {name: lambda features: 0.5 for name in ("champion", "steady", "withdrawn")}
        while not self._stopped.wait(0.04):
            came = time.monotonic()
            answer = self._client.predict(NAME, f"user-{draw.randrange(5_000)}", {"x": 1.0}, models)
            self._client.outcome(answer.request_id, "conversion", float(draw.random() < 0.3))
            self.answers.append((came, answer.variant))

    def variants(self, since: float = 0.0) -> set[str]:
        """Who answered requests that came since then."""
        return {variant for came, variant in list(self.answers) if came >= since}

    def stop(self) -> None:
        """No more requests."""
        self._stopped.set()
        self.join(10)


class Logs:
    """What a decider has said of the experiment so far."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._partition = experiment_partition(settings, NAME)

    def decisions(self) -> list[Decision]:
        """All of them."""
        return [decode_as(Decision, value) for value in self._values("decisions")]

    def actions(self) -> list[str]:
        """What they did."""
        return [decision.action for decision in self.decisions()]

    def tables(self) -> list[Routing]:
        """Routing tables that were not withdrawn."""
        return [decode_as(Routing, value) for value in self._values("routing")]

    def beats(self) -> list[tuple[int, int]]:
        """(log time, watermark) of the decider's heartbeats."""
        commands = [decode_as(Command, value) for value in self._values("commands")]
        beats = [each.arguments for each in commands if each.kind == "HEARTBEAT"]
        return [(int(beat["log_time"]), int(beat["watermark"])) for beat in beats]

    def _values(self, name: str) -> list[bytes]:
        records = read_topic(self._settings, name, [self._partition])
        return [record.value for record in records if record.value is not None]


def the_rest_goes_on(logs: Logs, client: Client) -> None:
    """The next share is given, on evidence and to the other candidate alone."""
    wait_for(lambda: "ADVANCE" in logs.actions(), 60.0)
    advance = next(each for each in logs.decisions() if each.action == "ADVANCE")
    assert advance.verdict == "PASS"
    assert advance.weights == {"champion": 6_000, "steady": 4_000, "withdrawn": 0}
    wait_for(lambda: client.assign(NAME, "user").routing_version >= advance.version)


@pytest.mark.timeout(240)
def test_a_joiner_that_stands_still_during_a_canary(
    kafka_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without evidence a release waits; a rollback does not.

    SIGSTOP for six times the canary's hold: time goes on, the watermark does not, no step is
    passed and nothing is concluded from silence. A rollback in that time is confirmed at once.
    When a joiner goes on, the rest of the release does, and the variant stays away.
    """
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    settings = replace(with_short_horizons(kafka_settings), session_timeout_seconds=6.0)
    logs = Logs(settings)
    with (
        Processes(settings, tmp_path / "log") as processes,
        Client(settings=settings) as client,
    ):
        for role in ("ticker", "decider"):
            processes.start(role)
        joiner = processes.start("joiner")
        service = Service(client)
        service.start()
        wait_for(lambda: any(watermark > 0 for _, watermark in logs.beats()))
        assert run(settings, capsys, "apply", "-f", str(manifest)).code == 0
        wait_for(lambda: "withdrawn" in service.variants())
        time.sleep(2.0)

        joiner.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        # What it had written before is read by then.
        time.sleep(6.0)
        before_ms, watermark_ms = logs.beats()[-1]
        assert logs.actions() == ["APPLY"]
        assert watermark_ms < logs.decisions()[0].decided_at + HOLD_MS
        time.sleep(20.0)
        answer = run(settings, capsys, "rollback", NAME, "--variant", "withdrawn",
                     "--reason", "in the middle of it", "-o", "json")  # fmt: skip
        confirmed = time.monotonic()
        assert (answer.code, answer.json["live"], answer.json["confirmed"]) == (0, 1, 1)
        _log.info("confirmed within %s s while the joiner stood still", answer.json["seconds"])
        assert answer.json["seconds"] < CONFIRMATION_SECONDS_MAX
        time.sleep(max(0.0, stopped + STOP_SECONDS - time.monotonic()))

        during, beats = logs.decisions(), logs.beats()
        joiner.send_signal(signal.SIGCONT)
        # Blocked for so long it ends itself, and is started again by whoever supervises it.
        processes.start("joiner")
        assert [decision.action for decision in during] == ["APPLY", "ROLLBACK"]
        assert not [decision for decision in during if decision.verdict == "NO_DATA"]
        assert beats[-1][0] - before_ms > 4 * HOLD_MS, "the decider's time went on"
        assert beats[-1][1] == watermark_ms, "what it knew did not"

        the_rest_goes_on(logs, client)
        assert joiner.poll() in (None, EXIT_BLOCKED)
        time.sleep(1.0)
        assert service.variants(since=confirmed) == {"champion", "steady"}
        service.stop()
        after = [table for table in logs.tables() if table.version >= during[1].version]
        assert {table.rolled_back for table in after} == {("withdrawn",)}
        assert all(weights_of(table)["withdrawn"] == 0 for table in after)
