"""Joiner processes under faults on real Kafka: every reader sees what the logs alone say.

Each test holds the outputs against an offline fold of the same logs, byte for byte, and fails
when the fault was none: when nothing was restored from a checkpoint or nothing came twice.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import NewSettings
from tests.integration.world import Findings, Traffic, World, with_short_horizons
from tidegate.agents.settings import Settings
from tidegate.infra.brokers import Broker, LocalBroker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

REQUESTS_PER_SECOND = 300
SESSION_SECONDS = 6.0


@pytest.fixture(params=["librdkafka", "aiokafka"])
def fetcher(request: pytest.FixtureRequest) -> str:
    """Both fetchers."""
    return str(request.param)


def quick(settings: Settings, fetcher: str) -> Settings:
    """Checkpoints, sessions and horizons short enough for a test."""
    return replace(
        with_short_horizons(settings),
        fetcher=fetcher,
        checkpoint_records=1_000,
        checkpoint_seconds=1.0,
        session_timeout_seconds=SESSION_SECONDS,
    )


@pytest.fixture
def world(kafka_settings: Settings, fetcher: str, tmp_path: Path) -> Iterator[World]:
    """An empty world on the shared real broker."""
    with World(quick(kafka_settings, fetcher), tmp_path / "log") as made:
        yield made


def close(world: World, traffic: Traffic, tickers: list[subprocess.Popen[bytes]]) -> Findings:
    """Services fall silent, time passes until every request is closed, time stops, all is read."""
    traffic.finish()
    time.sleep(4.0)
    for ticker in tickers:
        ticker.kill()
        ticker.wait()
    return world.findings()


def hold(found: Findings) -> None:
    """Nothing lost, nothing made up, every duplicate equal; and there were duplicates."""
    assert found.expected > 100
    assert (found.missing, found.unknown, found.unequal) == (0, 0, 0), found
    assert found.duplicates > 0, found
    assert found.restored > 0, found


def test_killed_again_and_again(world: World) -> None:
    """SIGKILL at random moments, one of two tickers dies: the outputs are those of one calm run."""
    draw = random.Random(20)
    tickers = [world.start("ticker"), world.start("ticker")]
    worker = world.start("joiner")
    traffic = world.traffic(REQUESTS_PER_SECOND)
    for kill in range(4):
        world.await_checkpoints(4 * (kill + 1))
        time.sleep(draw.uniform(0.2, 2.0))
        worker.kill()
        worker.wait()
        if kill == 1:
            tickers[0].kill()
        worker = world.start("joiner")
    world.await_checkpoints(24)
    hold(close(world, traffic, tickers))


def test_a_zombie_wakes_up(world: World) -> None:
    """SIGSTOP for longer than the session: another worker takes over, then the first goes on."""
    tickers = [world.start("ticker")]
    zombie = world.start("joiner")
    traffic = world.traffic(REQUESTS_PER_SECOND)
    world.await_checkpoints(8)
    zombie.send_signal(signal.SIGSTOP)
    world.start("joiner")
    world.await_takeovers(4 + 4)
    time.sleep(2.0)
    zombie.send_signal(signal.SIGCONT)
    # It goes on from memory with what it gets back, and from checkpoints with the rest.
    time.sleep(SESSION_SECONDS + 4.0)
    hold(close(world, traffic, tickers))


def test_a_second_worker_joins_and_dies(world: World) -> None:
    """Partitions move to it, and back when it is killed; a third comes and is asked to leave."""
    tickers = [world.start("ticker")]
    first = world.start("joiner")
    traffic = world.traffic(REQUESTS_PER_SECOND)
    world.await_checkpoints(8)
    second = world.start("joiner")
    world.await_takeovers(4 + 2)
    time.sleep(2.0)
    second.kill()
    world.await_takeovers(4 + 2 + 2)
    third = world.start("joiner")
    world.await_takeovers(4 + 2 + 2 + 2)
    third.terminate()
    assert third.wait(20) == 0
    world.await_takeovers(4 + 2 + 2 + 2 + 2)
    assert first.poll() is None
    hold(close(world, traffic, tickers))


@pytest.fixture
def mortal_kafka() -> Iterator[Broker]:
    """A real broker of this test's own, to be killed."""
    with LocalBroker() as broker:
        yield broker


def test_the_broker_is_killed_and_restarted(
    mortal_kafka: Broker, new_settings: NewSettings, fetcher: str, tmp_path: Path
) -> None:
    """Worker, ticker and services outlive it; a worker killed later goes on from a checkpoint."""
    with World(quick(new_settings(mortal_kafka), fetcher), tmp_path / "log") as world:
        tickers = [world.start("ticker")]
        worker = world.start("joiner")
        traffic = world.traffic(REQUESTS_PER_SECOND)
        world.await_checkpoints(8)
        mortal_kafka.kill()
        time.sleep(4.0)
        assert worker.poll() is None
        mortal_kafka.restart()
        world.await_checkpoints(16)
        assert worker.poll() is None, "the worker did not outlive its broker"
        worker.kill()
        worker.wait()
        world.start("joiner")
        hold(close(world, traffic, tickers))
