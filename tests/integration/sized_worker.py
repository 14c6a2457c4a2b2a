"""`python -m tests.integration.sized_worker SIZE PACE`: a joiner fed SIZE records at once.

It takes PACE records a second at most, so that there is time for something to happen to it;
everything else is the worker as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from tidegate.agents.log import configure_logs
from tidegate.agents.settings import load_settings
from tidegate.agents.worker import run_to_exit
from tidegate.streams.folding import PartitionFold
from tidegate.streams.merge import Fetched


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


if __name__ == "__main__":
    feed_in_parts(int(sys.argv[1]), int(sys.argv[2]))
    configure_logs("joiner")
    run_to_exit(load_settings(), "joiner")
