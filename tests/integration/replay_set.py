"""One input log, joined many times by workers under faults: one digest of what comes out.

`python -m tests.integration.replay_set` is the long form: 200,000 requests, 20 joins, on an
Apache Kafka of its own. It prints a line per join and exits 1 when anything differs.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b, sha256
from pathlib import Path

from tests.integration.joins import (
    LONG,
    PATIENCE_SECONDS,
    SHORT,
    Join,
    Workers,
    disturb,
    takeovers,
    written,
)
from tests.integration.outcome import Outcome, conclude
from tests.integration.recorded_input import InputLog
from tidegate.agents.engine import fingerprint
from tidegate.agents.joiner import joiner_factory
from tidegate.agents.kafka import new_consumer, read_topic, watermarks
from tidegate.agents.recorded import RecordedLogs
from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics
from tidegate.infra.brokers import Broker, LocalBroker
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.topics import merged_topics
from tidegate.streams.folding import PartitionFold
from tidegate.streams.output import Output

SESSION_SECONDS = 6.0
_PACE_SECONDS = 10
"""Predictions are a little less than half of the records: a join takes about twice as long."""

Place = tuple[int, int, int]
"""Source partition, partition, sequence."""


class ReplaySet:
    """The input log on a broker, what it must give, and joins of it."""

    def __init__(self, broker: Broker, folder: Path, requests: int) -> None:
        self._broker = broker
        self._folder = folder
        self._draw = random.Random(requests)
        self._pace = max(1, requests // _PACE_SECONDS)
        self.settings = Settings(
            kafka={"bootstrap.servers": broker.bootstrap},
            prefix="input.",
            state_dir=folder / "state",
            checkpoint_records=max(1_000, requests // 40),
            checkpoint_seconds=1.0,
            session_timeout_seconds=SESSION_SECONDS,
        )
        apply_topics(self.settings)
        self.sent = InputLog(self.settings, requests).write()
        self.expected = derive(self.settings)

    def run(self, join: Join, number: int) -> Outcome:
        """Join the input into fresh topics and compare."""
        began = time.monotonic()
        settings = replace(
            self.settings,
            prefix=f"join-{number}.",
            input_prefix=self.settings.prefix,
            fetcher=join.fetcher,
        )
        apply_topics(settings)
        log = self._folder / f"join-{number}.log"
        outcome = Outcome(join.name)

        def written_share(share: float) -> None:
            self._await(int(share * len(self.expected)), settings, workers)

        with Workers(settings, join, log, self._pace) as workers:
            workers.start()
            disturb(workers, outcome, self._broker, self._draw, written_share)
            self._await(len(self.expected), settings, workers)
            self._compare(settings, workers, outcome)
        outcome.started_again = workers.started_again
        outcome.restored = sum(released > 0 for released in takeovers(log))
        outcome.seconds = time.monotonic() - began
        return outcome

    def _await(self, count: int, settings: Settings, workers: Workers) -> None:
        workers.await_until(
            lambda: written(settings, "observations") >= count, f"{count:,} observations"
        )

    def _compare(self, settings: Settings, workers: Workers, outcome: Outcome) -> None:
        """Read the output until nothing is missing."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            outcome.missing = outcome.unknown = outcome.unequal = outcome.duplicates = 0
            first: dict[Place, bytes] = {}
            for place, found in observations(settings):
                outcome.duplicates += place in first
                if place not in self.expected:
                    outcome.unknown += 1
                elif first.setdefault(place, found) != found or found != self.expected[place]:
                    outcome.unequal += 1
            outcome.missing = len(self.expected) - len(first)
            outcome.digests = digests(first)
            if not outcome.missing or time.monotonic() > deadline:
                return
            workers.tend()
            time.sleep(0.5)


def derive(settings: Settings) -> dict[Place, bytes]:
    """What the input must give: digests of all observations, folded here without a worker."""
    found: dict[Place, bytes] = {}
    counts: dict[tuple[int, int], int] = defaultdict(int)

    def take(source: int, output: Output) -> None:
        if output.topic == "observations" and output.value is not None:
            pair = (source, output.partition)
            found[(*pair, counts[pair])] = digest(output.value)
            counts[pair] += 1

    make = joiner_factory(settings, fingerprint(settings))
    consumer = new_consumer(settings)
    names = [topic.name for topic in merged_topics("joiner")]
    bounds = {name: watermarks(settings, consumer, name) for name in names}
    consumer.close()
    for source in range(settings.partitions):
        handler = make(source, lambda output, source=source: take(source, output))  # type: ignore[misc]
        fold = PartitionFold(source, len(names), handler)
        with RecordedLogs(settings, "joiner", source, bounds) as logs:
            while (fetched := logs.read(rank := fold.merge.blocked_on())) is not None:
                fold.feed(rank, fetched)
                fold.drain()
    return found


def observations(settings: Settings) -> Iterator[tuple[Place, bytes]]:
    """Place and digest of every observation written, copies included."""
    for record in read_topic(settings, "observations"):
        if record.value is not None:
            batch = decode_observation(record.value)
            place = (batch.source_partition, batch.partition, batch.sequence)
            yield place, digest(record.value)


def digests(first: dict[Place, bytes]) -> dict[str, str]:
    """One digest per source partition over its observations, in the order of their places."""
    hashes = {source: sha256() for source in sorted({place[0] for place in first})}
    for place in sorted(first):
        hashes[place[0]].update(repr(place).encode() + first[place])
    return {str(source): found.hexdigest() for source, found in hashes.items()}


def digest(value: bytes) -> bytes:
    """What is kept of an observation."""
    return blake2b(value, digest_size=16).digest()


def main() -> int:
    """The long form, or with `--short` that of the tests."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.replay_set")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--short", action="store_true", help="fewer joins")
    given = parser.parse_args()
    requests, joins = given.requests, SHORT if given.short else LONG
    with LocalBroker() as broker, tempfile.TemporaryDirectory() as folder:
        replays = ReplaySet(broker, Path(folder), requests)
        sys.stdout.write(
            f"{replays.sent.predictions:,} predictions in {replays.sent.records:,} records,"
            f" {len(replays.expected):,} observations\n"
        )
        outcomes = []
        for number, join in enumerate(joins):
            outcomes.append(replays.run(join, number))
            sys.stdout.write(f"{outcomes[-1]}\n")
            sys.stdout.flush()
    return conclude(outcomes, "One digest per source partition; all copies equal.")


if __name__ == "__main__":
    sys.exit(main())
