"""One topic with a backlog, the others idle but ticked; `skew.py` is the form with a million."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.skew import FETCHERS, fill, new_input, play
from tidegate.infra.brokers import Broker

RECORDS = 100_000
MEMORY_BYTES_MAX = 400_000_000


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_backlog_of_one_topic_is_joined_whole_in_bounded_memory(
    local_kafka: Broker, tmp_path: Path
) -> None:
    """Buffers of a thousand records a topic: what is far ahead is not fetched, what everybody
    waits for is; both fetchers come to the end, with every request closed once and every outcome
    joined."""
    made = new_input(local_kafka, tmp_path)
    outcomes = fill(made, RECORDS)
    for fetcher in FETCHERS:
        done = play(made, fetcher, RECORDS, tmp_path)
        assert (done.closed, done.matched) == (RECORDS, outcomes), done
        assert done.peak_bytes < MEMORY_BYTES_MAX
        if fetcher == "librdkafka":  # aiokafka leaves out what is not wanted instead of pausing
            assert done.pauses > 0
