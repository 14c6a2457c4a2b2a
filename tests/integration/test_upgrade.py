"""An engine barrier while traffic goes on, on real Kafka: old workers leave, new ones go on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents.counting import ROOT, environment_of
from tests.agents.waiting import wait_for
from tests.integration.world import (
    PATIENCE_SECONDS,
    Identity,
    World,
    identify,
    reference,
    with_short_horizons,
)
from tidegate.agents.commands.logs import decisions_newest_first
from tidegate.agents.commands.mark import run_barrier
from tidegate.agents.commands.options import EXIT_DONE, Output
from tidegate.agents.engine import fingerprint
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import DeadLetter
from tidegate.schemas.observation_reading import decode_observation

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1800)]

REQUESTS_PER_SECOND = 100


@pytest.fixture
def world(kafka_settings: Settings, tmp_path: Path) -> Iterator[World]:
    """An empty world on the shared real broker."""
    settings = replace(
        with_short_horizons(kafka_settings), checkpoint_seconds=1.0, session_timeout_seconds=6.0
    )
    with World(settings, tmp_path / "log") as made:
        yield made


def place_of(name: str, partition: int, value: bytes) -> Identity:
    """What makes outputs of two engines the same one; dead letters, too, name theirs."""
    if name == "dead-letters":
        value = encode(replace(decode_as(DeadLetter, value), engine="any"))
    return identify(name, partition, value)


def derived(settings: Settings) -> dict[Identity, bytes]:
    """Everything a joiner of these settings' engine makes of the logs."""
    return {place_of(*where[:2], value): value for where, value in reference(settings).items()}


def written(settings: Settings) -> dict[Identity, set[bytes]]:
    """Everything a joiner put out, by what it is; copies of equal bytes once."""
    found: dict[Identity, set[bytes]] = defaultdict(set)
    for name in ("observations", "dead-letters"):
        for record in read_topic(settings, name):
            if record.value is not None:
                found[place_of(name, record.partition, record.value)].add(record.value)
    return found


def test_an_upgrade_under_load_loses_and_doubles_nothing(world: World) -> None:
    """Two old joiners end with 2 at the barrier, two of another engine go on, services never stop.

    Every batch is what the logs give, of one engine: up to the barrier the old one, then the new
    one, in every source partition.
    """
    old = world.settings
    new = replace(old, facts_per_batch=old.facts_per_batch - 1)
    assert fingerprint(old) != fingerprint(new)
    tickers = [world.start("ticker")]
    workers = [world.start("joiner"), world.start("joiner")]
    traffic = world.traffic(REQUESTS_PER_SECOND)
    world.await_takeovers(4)
    world.await_checkpoints(8)
    assert run_barrier(new, "joiner", "", Output.table) == EXIT_DONE
    for worker in workers:
        assert worker.wait(PATIENCE_SECONDS) == 2
    world.settings = new
    workers = [world.start("joiner"), world.start("joiner")]
    world.await_checkpoints(20)
    traffic.finish()
    time.sleep(4.0)
    tickers[0].kill()
    tickers[0].wait()
    by_old, by_new = derived(old), derived(new)
    assert by_old.keys() == by_new.keys()
    wait_for(lambda: len(written(new)) >= len(by_new), PATIENCE_SECONDS)
    assert written(new).keys() == by_new.keys()
    assert all(worker.poll() is None for worker in workers)

    engines: dict[tuple[int, int], dict[int, str]] = defaultdict(dict)
    for identity, values in written(new).items():
        [value] = values
        assert value in (by_old[identity], by_new[identity])
        if identity[0] == "observations":
            batch = decode_observation(value)
            place = (batch.source_partition, batch.partition)
            engines[place][batch.sequence] = batch.engine
    assert len(engines) == old.partitions * old.decision_partitions
    for of_place in engines.values():
        said = [of_place[number] for number in range(len(of_place))]
        handover = said.index(fingerprint(new))
        assert set(said[:handover]) == {fingerprint(old)}
        assert set(said[handover:]) == {fingerprint(new)}


def test_deciders_hand_over_too(world: World) -> None:
    """The new engine answers the next order, one version on, in the same epoch."""
    old = world.settings
    new = replace(old, facts_per_batch=old.facts_per_batch - 1)
    world.start("ticker")
    decider = world.start("decider")
    traffic = world.traffic(50)
    tidegate(old, "apply", "-f", "examples/click-ranker.yaml", "--timeout", "4m")
    assert run_barrier(new, "decider", "", Output.table) == EXIT_DONE
    assert decider.wait(PATIENCE_SECONDS) == 2
    world.settings = new
    world.start("decider")
    tidegate(new, "pause", "click-ranker", "--reason", "an upgrade", "--timeout", "4m")
    traffic.finish()
    last, first, *_ = decisions_newest_first(new, "click-ranker")
    assert (first.engine, last.engine) == (fingerprint(old), fingerprint(new))
    assert (last.epoch, last.version) == (first.epoch, first.version + 1)


def tidegate(settings: Settings, *words: str) -> None:
    """A command of a person, which must succeed."""
    subprocess.run(
        [sys.executable, "-m", "tidegate", *words],
        cwd=ROOT, env=environment_of(settings), check=True, timeout=2 * PATIENCE_SECONDS,
    )  # fmt: skip
