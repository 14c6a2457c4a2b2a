"""Tidegate's joiner as a program like the peers: the whole worker, told when it has read all."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

from benchmarks.cluster import Stopwatch
from benchmarks.peers.job import Job
from tidegate.agents.hosting.host import HandlerFactory
from tidegate.agents.joiner import joiner_factory
from tidegate.agents.settings import Settings
from tidegate.agents.worker import run_to_exit
from tidegate.schemas.codec import Bindings
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.merge import Run
from tidegate.streams.output import Emit

JOB = Job.from_environment()


class Clocked:
    """From the first event to the last, as with the peers; ends the worker after it."""

    def __init__(self, events: int) -> None:
        self._left = events
        self._events = events
        self._watch = Stopwatch()

    def begins(self) -> None:
        """A run of events is about to be joined."""
        if self._left == self._events:
            self._watch.work()

    def joined(self, events: int) -> None:
        """So many more were."""
        self._left -= events
        if self._left == 0:
            self._watch.work()
            self._watch.say(self._events)
            os.kill(os.getpid(), signal.SIGTERM)


class ClockedJoiner(Joiner):
    """A joiner that tells how far it is; a call per run, nothing per event."""

    clocked: Clocked

    def records(self, run: Run) -> None:
        """Join, then count."""
        self.clocked.begins()
        super().records(run)
        self.clocked.joined(run.stop - run.start)


def clocked_factory(
    settings: Settings, engine: str, bindings: Bindings | None = None
) -> HandlerFactory:
    """As `joiner_factory`, of joiners that count together."""
    make = joiner_factory(settings, engine, bindings)
    clocked = Clocked(JOB.events)

    def make_clocked(partition: int, emit: Emit) -> Joiner:
        joiner = make(partition, emit)
        joiner.__class__ = ClockedJoiner
        assert isinstance(joiner, ClockedJoiner)
        joiner.clocked = clocked
        return joiner

    return make_clocked


def main() -> None:
    """Run the worker of the role until all events are joined."""
    logging.basicConfig(level=logging.WARNING)
    settings = Settings(
        prefix=JOB.prefix, partitions=JOB.partitions, instance_id="bench",
        state_dir=Path(os.environ["PEER_STATE"]),
    ).with_bootstrap(JOB.bootstrap)  # fmt: skip
    chosen = os.environ.get("PEER_FETCHER")
    if chosen:
        settings = replace(settings, fetcher=chosen)
    run_to_exit(settings, "joiner", {"joiner": clocked_factory})


if __name__ == "__main__":
    main()
