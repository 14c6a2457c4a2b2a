"""`python -m tests.integration.sized_worker ROLE SIZE PACE`: a worker fed SIZE records at once.

It takes PACE records a second at most, in small fetches, so that there is time for something to
happen to it and for checkpoints. A
decider's own ROLLBACK goes elsewhere: `control` is the recorded log, and must not grow. Everything
else is the worker as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from tidegate.agents import app
from tidegate.agents.hosting.publisher import Publisher
from tidegate.agents.log import configure_logs
from tidegate.agents.settings import load_settings
from tidegate.agents.transport import librdkafka_fetch
from tidegate.agents.worker import run_to_exit
from tidegate.streams.folding import PartitionFold
from tidegate.streams.merge import Fetched
from tidegate.streams.output import Output

_FEEDS_PER_SECOND = 20


def parts(fetched: Fetched, size: int) -> Iterator[Fetched]:
    """A fetch in fetches of at most `size` records."""
    for start in range(0, len(fetched.values), size):
        stop = start + size
        yield Fetched(
            fetched.first_offset + start,
            fetched.values[start:stop],
            [(index - start, mark) for index, mark in fetched.marks if start <= index < stop],
            lambda index, start=start: fetched.timestamps(start + index),  # type: ignore[misc]
        )


def feed_in_parts(size: int, pace: int) -> None:
    """Make every fold of this process take its fetches in parts, draining after each."""
    whole = PartitionFold.feed

    def feed(self: PartitionFold, rank: int, fetched: Fetched) -> None:
        for part in parts(fetched, size):
            whole(self, rank, part)
            self.drain()
        time.sleep(len(fetched.values) / pace)

    PartitionFold.feed = feed  # type: ignore[method-assign]  # what this module is for
    # A feed holds the event loop up, and checkpoints are written on it.
    fetched = max(1, min(500, pace // _FEEDS_PER_SECOND))
    app._FETCH_RECORDS = librdkafka_fetch._CONSUME_RECORDS = fetched


def keep_control_as_recorded() -> None:
    """Write what is meant for `control` to a topic that nobody reads."""
    whole = Publisher.emit

    def emit(self: Publisher, source_partition: int, output: Output) -> None:
        if output.topic == "control":
            output = replace(output, topic="clock", partition=0)
        whole(self, source_partition, output)

    Publisher.emit = emit  # type: ignore[method-assign]  # what this module is for


if __name__ == "__main__":
    role, size, pace = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    feed_in_parts(size, pace)
    keep_control_as_recorded()
    configure_logs(role)
    run_to_exit(load_settings(), role)
