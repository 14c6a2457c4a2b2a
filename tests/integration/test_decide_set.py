"""The same recorded logs, decided again and again under faults, give the same decisions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.decide_set import DecisionSet
from tests.integration.joins import Join
from tests.integration.outcome import verdict
from tidegate.infra.brokers import LocalBroker

FAULTS = (
    Join("seven by seven, killed twice", size=7, kills=2, hash_seed="1"),
    Join("a second worker joins and dies", second_worker=True),
    Join("another day", clock_moved_days=1),
)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_recorded_logs_give_one_digest_of_decisions(tmp_path: Path) -> None:
    """Batch sizes, SIGKILL, a second worker, another day, another hash seed: one digest of each
    output topic, and restarts and copies did happen. (The long form is `python -m
    tests.integration.decide_set`.)"""
    with LocalBroker() as broker:
        decisions = DecisionSet(broker, tmp_path)
        outcomes = [decisions.run(join, number) for number, join in enumerate(FAULTS)]
    assert verdict(outcomes) == [], "\n".join(map(str, outcomes))
