"""Logs that lost records, on real Kafka: nobody passes over it unasked, and everybody does when
a person accepted it; topics made anew or grown are noticed.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.agents.counting import ROOT, environment_of
from tests.agents.waiting import wait_for
from tests.integration.world import PATIENCE_SECONDS, World, identify, with_short_horizons
from tidegate.agents.commands.logs import bounds, tables
from tidegate.agents.kafka import read_topic
from tidegate.agents.replay import Replay
from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics
from tidegate.schemas.observation_reading import decode_observation

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1800)]

REQUESTS_PER_SECOND = 100


@pytest.fixture
def world(kafka_settings: Settings, tmp_path: Path) -> Iterator[World]:
    """An empty world on the shared real broker, with horizons short enough for a test."""
    settings = replace(
        with_short_horizons(kafka_settings), partitions=kafka_settings.partitions,
        checkpoint_seconds=1.0, session_timeout_seconds=6.0,
    )  # fmt: skip
    with World(settings, tmp_path / "log") as made:
        yield made


def tidegate(settings: Settings, command: str) -> str:
    """What a command of a person says; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], cwd=ROOT, env=environment_of(settings),
        capture_output=True, text=True, check=False, timeout=2 * PATIENCE_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def text_of(world: World) -> str:
    """The log of all processes."""
    return world.log.read_text(encoding="utf-8", errors="replace")


def commit(settings: Settings, records: int) -> None:
    """What a transactional producer leaves in partition 0 of predictions: records and a hole."""
    producer = Producer({**settings.kafka, "transactional.id": settings.prefix})
    producer.init_transactions(30)
    producer.begin_transaction()
    for _ in range(records):
        producer.produce(settings.topic("predictions"), b"no event", b"k", 0)
    producer.commit_transaction(30)


@pytest.mark.parametrize("fetcher", ["librdkafka", "aiokafka"])
def test_a_hole_of_a_transaction_is_passed_when_it_was_accepted(
    world: World, fetcher: str
) -> None:
    """Fail-stop before it, each time; the message names the offsets; behind `mark skip` the same
    workers go on, nothing is lost or doubled, and an audit agrees and says who accepted it."""
    world.settings = replace(world.settings, fetcher=fetcher)
    ticker = world.start("ticker")
    worker = world.start("joiner")
    traffic = world.traffic(REQUESTS_PER_SECOND)
    world.await_checkpoints(4)
    commit(world.settings, 3)
    assert worker.wait(PATIENCE_SECONDS) == 70
    assert world.start("joiner").wait(PATIENCE_SECONDS) == 70
    words = r"offset (\d+) comes next, but (\d+) was read of \S+predictions-0"
    found = re.findall(words, text_of(world))
    assert len(set(found)) == 1
    begin, end = map(int, found[0])
    assert end == begin + 1
    said = tidegate(
        world.settings,
        f"tidegate mark skip --topic predictions --partition 0 --from {begin} --to {end}"
        " --reason 'a transactional producer' --actor ada",
    )
    assert f"predictions-0 has nothing at offsets {begin} to {begin}" in said
    world.start("joiner")
    time.sleep(2.0)
    traffic.finish()
    time.sleep(4.0)
    ticker.kill()
    ticker.wait()
    findings = world.findings()
    assert findings.expected > 50
    assert (findings.missing, findings.unknown, findings.unequal) == (0, 0, 0), findings
    report = Replay(world.settings).run()
    assert report.equal, report
    [accepted] = report.accepted
    assert (accepted.reason, accepted.actor) == ("a transactional producer", "ada")


def delete_all(settings: Settings, name: str, partition: int) -> None:
    """What retention does to a log that was not read for too long."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
    gone = TopicPartition(settings.topic(name), partition, -1)
    for future in admin.delete_records([gone]).values():
        future.result()


def test_what_retention_ate_is_passed_when_it_was_accepted(world: World) -> None:
    """Start refused, with the command that accepts it; the command of the message is enough.
    Batches stay dense, no request closes twice, metrics count it, epochs rise."""
    settings = world.settings
    ticker = world.start("ticker")
    decider = world.start("decider")
    worker = world.start("joiner")
    tidegate(settings, "tidegate apply -f examples/click-ranker.yaml --timeout 4m")
    traffic = world.traffic(REQUESTS_PER_SECOND)
    world.await_checkpoints(12)
    time.sleep(0.7)
    worker.kill()
    worker.wait()
    wait_for(lambda: bounds(settings, "outcomes", 0)[1] > 0)
    time.sleep(1.0)
    delete_all(settings, "outcomes", 0)
    assert world.start("joiner").wait(PATIENCE_SECONDS) == 2
    refusal = re.search(r"Accept it with `(tidegate mark skip .*?) --reason", text_of(world))
    assert refusal is not None, text_of(world)
    told = tidegate(settings, f"{refusal[1]} --reason 'retention was too short' --actor ada")
    assert "had been accepted" not in told
    again = world.start("joiner")
    wait_for(lambda: world.metric("tidegate_skipped_offsets_total") > 0, PATIENCE_SECONDS)
    traffic.finish()
    time.sleep(4.0)
    wait_for(lambda: tables(settings)["click-ranker"].epoch == 1, PATIENCE_SECONDS)
    assert (decider.poll(), again.poll()) == (None, None)
    for process in (ticker, decider, again):
        process.kill()
        process.wait()

    values: dict[tuple[int, int], bytes] = {}
    closed: list[int] = []
    for record in read_topic(settings, "observations"):
        if record.value is None:
            continue
        batch = decode_observation(record.value)
        place = identify("observations", record.partition, record.value)
        if batch.source_partition == 0 and (record.partition, batch.sequence) not in values:
            values[record.partition, batch.sequence] = record.value
            closed += batch.tables["closed"]["request"].tolist()
        assert place[0] == "observations"
    for partition in range(settings.decision_partitions):
        numbers = sorted(number for of, number in values if of == partition)
        assert numbers == list(range(len(numbers)))
    assert len(closed) > 50
    assert len(closed) == len(set(closed))
    report = Replay(settings).run()
    assert not report.equal
    assert [it.topic for it in report.accepted] == ["outcomes"]
    assert any("begins at offset" in it.why for it in report.incomparable)


def make_anew(settings: Settings, name: str) -> None:
    """Delete a topic and create it again as it should be, empty."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
    topic = settings.topic(name)
    admin.delete_topics([topic])[topic].result()
    wait_for(lambda: topic not in admin.list_topics(timeout=10).topics, PATIENCE_SECONDS)
    assert [change.wanted.name for change in apply_topics(settings)] == [topic]


def joined(settings: Settings) -> int:
    """How many outcomes met a prediction so far."""
    batches: dict[tuple[int, int, int], int] = {}
    for record in read_topic(settings, "observations"):
        if record.value is not None:
            batch = decode_observation(record.value)
            place = (record.partition, batch.source_partition, batch.sequence)
            batches[place] = batch.count("matched")
    return sum(batches.values())


@pytest.mark.parametrize("fetcher", ["librdkafka", "aiokafka"])
def test_a_topic_made_anew_ends_the_worker_and_keeps_others_from_starting(
    world: World, fetcher: str
) -> None:
    """Exit 2, saying what to do; of what the new topic holds nothing is joined."""
    world.settings = settings = replace(world.settings, fetcher=fetcher)
    ticker = world.start("ticker")
    worker = world.start("joiner")
    traffic = world.traffic(REQUESTS_PER_SECOND)
    world.await_checkpoints(8)
    traffic.finish()
    ticker.kill()
    ticker.wait()
    # Behind the last tick nothing is concluded, so what was joined so far stays what it is.
    assert world.findings().missing == 0
    before = joined(settings)
    assert before > 0
    make_anew(settings, "outcomes")
    world.start("ticker")
    again = world.traffic(REQUESTS_PER_SECOND)
    assert worker.wait(PATIENCE_SECONDS) == 2
    assert re.search("deleted and made anew|outcomes: gone", text_of(world))
    # The group still has a deal from when the topic was gone: whoever gets it asks for another.
    assert world.start("joiner").wait(PATIENCE_SECONDS) == 2
    again.finish()
    assert "topics were deleted and made anew" in text_of(world)
    assert "another `prefix`" in text_of(world)
    assert joined(settings) == before


def test_a_topic_that_grows_ends_the_worker(world: World) -> None:
    """Exit 2, saying what to do, and nobody starts any more."""
    worker = world.start("joiner")
    world.start("ticker")
    world.await_checkpoints(4)
    admin = AdminClient({"bootstrap.servers": world.settings.bootstrap, "log_level": 0})
    topic = world.settings.topic("predictions")
    admin.create_partitions([NewPartitions(topic, 6)])[topic].result()
    assert worker.wait(PATIENCE_SECONDS) == 2
    assert "has 6 partitions, it had 4" in text_of(world)
    assert world.start("joiner").wait(PATIENCE_SECONDS) == 2
    assert json.dumps(world.settings.topic("predictions"))[1:-1] in text_of(world)
