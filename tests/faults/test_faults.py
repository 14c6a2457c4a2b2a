"""The short form of `python -m tests.faults`: one scene for each kind of fault, on real Kafka.

Long rows, other faults and many repetitions are the command's.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.faults.deciders import DecidingScene
from tests.faults.failures import fall_silent
from tests.faults.groups import fail_requests
from tests.faults.joining import JOIN_GROUP, await_end
from tests.faults.judging import Judge
from tests.faults.kills import kill_at
from tests.faults.rows import Row, quantile, table
from tests.faults.scene import quick_settings
from tests.faults.stage import Stage
from tests.faults.table import FAULTS
from tests.integration.world import Identity, Traffic, reference
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.agents.watchdog import EXIT_SECONDS, GROUP_EXIT_SECONDS
from tidegate.infra.brokers import Broker, EmbeddedBroker
from tidegate.schemas.marks import tick_headers
from tidegate.schemas.topics import merged_topics

pytestmark = pytest.mark.kafka

POINTS = ("producing", "flushed", "restored")
DECIDER_POINTS = ("withdrawn", "announced")
HASTE = 9.0
HANG_HASTE = 1.5
"""A worker that catches up on a busy machine may stand still for some seconds."""
_LOADING = 14
_REFUSALS = 140
"""A worker that is refused asks again five times a second: enough for its patience, little more."""


@pytest.fixture
def stage(local_kafka: Broker, tmp_path: Path) -> Stage:
    """A stage on the shared real broker, which nothing here may harm."""
    made = Stage(tmp_path)
    made.lend(local_kafka)
    return made


def hold(row: Row) -> None:
    """Nothing lost, nothing doubled, all got over."""
    assert row.passed, table([row])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_worker_dies_at_named_points_or_hangs(stage: Stage) -> None:
    """SIGKILL between any two steps of feeding, writing and checkpointing costs nobody a fact; nor
    does an agent that hangs, which ends the process (patience is a third)."""
    row = Row("kill", "SIGKILL at three points, the agent hangs")
    with stage.scene(row) as scene:
        kill_at(scene, POINTS, 1, stage.draw("kill"))
        fall_silent(scene, ["hang"], HANG_HASTE, begun=True)
        ends = [str(line["message"]) for line in scene.lines("stopping with exit code")]
    hold(row)
    assert row.times == len(POINTS) + 1
    assert row.copies > 0
    # Not by the clock of the test: a worker may have stood still before it was made to hang.
    stood = [re.search(r"has not moved for (\d+) s", end) for end in ends]
    assert [int(each[1]) >= EXIT_SECONDS / HANG_HASTE for each in stood if each] == [True], ends


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_decider_dies_at_named_points(stage: Stage) -> None:
    """SIGKILL behind the decision of a rollback and behind a checkpoint: one content for each
    version, every breach rolled back once, every order answered once, and nothing serves again
    what was rolled back."""
    row = Row("decider", "SIGKILL at two points")
    with stage.scene(row, kind=DecidingScene) as scene:
        kill_at(scene, DECIDER_POINTS, 1, stage.draw("decider"))
    hold(row)
    assert row.times == len(DECIDER_POINTS)
    assert row.copies > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_errors_of_the_group_are_got_over_and_silence_is_found(tmp_path: Path) -> None:
    """SyncGroup, JoinGroup and Heartbeat errors, injected into the mock cluster, stop nobody. A
    worker whose coordinator then loads for ever is never let in: it owns nothing, says what is
    wrong, and ends; the next one is let in (patience is a ninth)."""
    row = Row("group", "three errors, then no join ends")
    with Stage(tmp_path) as own, EmbeddedBroker() as broker, own.scene(row, broker) as scene:
        worker = scene.begin()
        fail_requests(scene, broker, 3)
        assert worker.process.poll() is None
        broker.fail(JOIN_GROUP, [_LOADING] * _REFUSALS)
        scene.send(worker, signal.SIGKILL)
        began = scene.now()
        ended_at = await_end(scene, scene.start(orders={"hasten": HASTE}), HASTE)
        scene.start()
        scene.recover(ended_at)
    hold(row)
    assert ended_at - began > GROUP_EXIT_SECONDS / HASTE


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_leaders_that_move_cost_nobody_a_fact(tmp_path: Path) -> None:
    """One of three nodes dies, its leaders move, it comes back and gets them back."""
    with Stage(tmp_path) as own:
        hold(FAULTS["leaders"].run(own, 1))


def test_the_verdict_sees_what_is_lost_and_doubled(
    local_kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts that nobody wrote are lost, and so are requests; a batch that says something else is
    doubled; copies of equal bytes are dropped."""
    settings = quick_settings(local_kafka, tmp_path)
    row = Row("none", "by hand", times=1)
    log_some(settings)
    judge = Judge(settings)
    assert not judge.judge(row)
    assert row.lost == row.facts > row.requests > 0

    expected = reference(settings)
    for _ in range(2):
        write(settings, expected)
    assert judge.judge(row)
    assert (row.lost, row.doubled, row.copies, row.passed) == (0, 0, len(expected), True)

    monkeypatch.setattr("tests.integration.world.fingerprint", lambda _: "another engine")
    write(settings, reference(settings))
    assert judge.judge(row)
    # Dead letters do not name the engine.
    assert row.facts - sum(where[0] == "dead-letters" for where in expected) == row.doubled
    assert not row.passed


def log_some(settings: Settings) -> None:
    """Requests and all that comes of them, in logs whose time begins before and ends behind."""
    producer = new_producer(settings)

    def tick(at_ms: int) -> None:
        for topic in merged_topics("joiner"):
            for partition in range(settings.partitions):
                name = settings.topic(topic.name)
                producer.produce(name, None, partition=partition, headers=tick_headers(at_ms))
        assert producer.flush(10) == 0

    now_ms = int(time.time() * 1_000)
    tick(now_ms)
    traffic = Traffic(settings, 500, seed=1)
    traffic.start()
    time.sleep(0.5)
    traffic.finish()
    for seconds in range(1, 12):
        tick(now_ms + seconds * 1_000)


def write(settings: Settings, outputs: Mapping[Identity, bytes]) -> None:
    """What a worker would write."""
    producer = new_producer(settings)
    for (name, partition, _), value in outputs.items():
        producer.produce(settings.topic(name), value, partition=partition)
    assert producer.flush(10) == 0


def test_every_row_has_its_quantiles() -> None:
    """p50 and p99 are values that were measured, the smallest that do."""
    values = [float(number) for number in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99)) == (50.0, 99.0)
    assert quantile([3.0], 0.5) == 3.0
