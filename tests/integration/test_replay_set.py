"""The same input, joined again and again under faults, gives the same observations."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.joins import Join
from tests.integration.outcome import verdict
from tests.integration.replay_set import ReplaySet
from tidegate.infra.brokers import LocalBroker

REQUESTS = 20_000
FAULTS = (
    Join("one by one, killed", size=1, kills=1, hash_seed="1"),
    Join("seven by seven, killed twice", size=7, kills=2),
    Join("a second worker joins and dies", second_worker=True, hash_seed="4711"),
    Join("the broker is killed and restarted", broker_dies=True),
    Join("a day ahead", clock_moved_days=1),
)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_input_gives_one_digest_whatever_happens_to_the_workers(tmp_path: Path) -> None:
    """Batch sizes, SIGKILL, a second worker, a broker killed, another day, another hash seed: one
    digest of observations per source partition, every copy equal to its first; and restarts from
    checkpoints and copies did happen. (The long form is `python -m
    tests.integration.replay_set`.)"""
    with LocalBroker() as broker:
        replays = ReplaySet(broker, tmp_path, REQUESTS)
        outcomes = [replays.run(join, number) for number, join in enumerate(FAULTS)]
    assert verdict(outcomes) == [], "\n".join(map(str, outcomes))
