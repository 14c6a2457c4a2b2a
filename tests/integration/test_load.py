"""More than a worker can take, on a real Apache Kafka: short forms of two benchmarks.

Memory over minutes is theirs: `python -m benchmarks.overload`, `python -m benchmarks.crowd`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import crowd, overload
from tidegate.agents.settings import Settings

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

STREAMS = 3
FETCHED_AHEAD = 4_000
"""What librdkafka hands over before a pause tells, by topic-partition."""


def test_a_worker_under_three_times_its_capacity(kafka_settings: Settings, tmp_path: Path) -> None:
    """What it cannot take waits in Kafka: few records are in the worker, fetching pauses, and when
    the load has gone it takes all of it; every record is told once, none has expired, and it has
    not been ended for being behind. (What is late is so by the ticks of a busy machine.)"""
    settings = replace(kafka_settings, buffered_records=1_000)
    found = overload.play(
        settings, tmp_path, seconds=6.0, share=0.1, probe_rate=20_000,
        enough=lambda look: look.pauses > 0,
    )  # fmt: skip
    assert found.sound, (found.lost, found.ended)
    assert not [name for name in found.irregular if name.endswith(".expired")]
    assert found.times > 1.2
    assert found.backlog > found.capacity
    assert found.looks[-1].pauses > 0
    bound = STREAMS * settings.partitions * (settings.buffered_records + FETCHED_AHEAD)
    assert max(look.buffered for look in found.looks) < min(bound, found.backlog)


def test_a_crowd_that_nobody_joins(kafka_settings: Settings, tmp_path: Path) -> None:
    """Ten times as many requests as may be open: exactly the cap stays open, the rest is given up
    and told; when their windows are over, all that comes is joined."""
    found = crowd.play(kafka_settings, tmp_path, open_max=500, wait_seconds=12.0, honest=2_000)
    assert found.faults == []
