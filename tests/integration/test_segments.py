"""Joiners killed on real Kafka while their requests lie in segments: nothing is lost or doubled."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.launcher import VARIABLE
from tests.integration.world import World, with_short_horizons
from tidegate.agents.hosting.snapshots import decode_manifest, read_segment_key
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings

ORDERS = {VARIABLE: json.dumps({"segment_records": 120})}


@pytest.mark.kafka
@pytest.mark.slow
def test_killed_with_requests_in_segments(kafka_settings: Settings, tmp_path: Path) -> None:
    """SIGKILL at random moments: the outputs are those of one calm run, workers went on from
    checkpoints that refer to segments, and segments that nobody needs were deleted."""
    settings = replace(
        with_short_horizons(kafka_settings), checkpoint_records=500, checkpoint_seconds=1.0,
        session_timeout_seconds=6.0,
    )  # fmt: skip
    draw = random.Random(21)
    with World(settings, tmp_path / "log") as world:
        ticker = world.start("ticker")
        worker = world.start("joiner", ("tests.faults.launcher",), ORDERS)
        traffic = world.traffic(300)
        for kill in range(4):
            world.await_checkpoints(4 * (kill + 2))
            time.sleep(draw.uniform(0.2, 2.0))
            worker.kill()
            worker.wait()
            worker = world.start("joiner", ("tests.faults.launcher",), ORDERS)
        world.await_checkpoints(30)
        traffic.finish()
        time.sleep(4.0)
        ticker.kill()
        ticker.wait()
        found = world.findings()
        went_on = world.lines("partition taken over")
    assert found.expected > 100
    assert (found.missing, found.unknown, found.unequal) == (0, 0, 0), found
    assert found.duplicates > 0, found
    assert any(line["segments"] for line in went_on), went_on
    referred, deleted = 0, 0
    for record in read_topic(settings, "snapshots"):
        manifest = decode_manifest(record.value or b"")
        referred += len(manifest.segments) if manifest is not None else 0
        deleted += record.value is None and read_segment_key(record.key) is not None
    assert referred > 0
    assert deleted > 0
