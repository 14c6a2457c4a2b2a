"""One recorded control, applied and observations log, decided many times by workers under faults.

`python -m tests.integration.decide_set` is the long form: 20 runs on an Apache Kafka of its own.
It prints a line per run and exits 1 when anything differs.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import replace
from hashlib import sha256
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
from tests.integration.recorded_decisions import HOMES, SOURCES, record
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics
from tidegate.infra.brokers import Broker, LocalBroker

OUTPUTS = {
    "decisions": "decisions", "routing": "routing", "commands": "commands", "control": "clock"
}  # fmt: skip
"""What deciders write, and the topic where it stands here: see `sized_worker`."""
SESSION_SECONDS = 6.0
_PACE_SECONDS = 8

Written = tuple[bytes, bytes | None]
"""Key and value."""


class DecisionSet:
    """The recorded logs, what they must give, and runs of deciders over them."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._draw = random.Random(1)
        self.settings = Settings(
            kafka={"bootstrap.servers": broker.bootstrap},
            state_dir=folder / "state",
            checkpoint_records=500,
            checkpoint_seconds=1.0,
            session_timeout_seconds=SESSION_SECONDS,
            partitions=SOURCES,
            decision_partitions=HOMES,
        )
        self.recorded = record(self.settings)
        self.records = sum(map(len, self.recorded.logs.values()))
        self.expected: dict[str, list[Written]] = {
            topic: [(it.key, it.value) for it in self.recorded.expected if it.topic == topic]
            for topic in OUTPUTS
        }

    def run(self, join: Join, number: int) -> Outcome:
        """Decide a copy of the logs and compare."""
        began = time.monotonic()
        settings = replace(self.settings, prefix=f"run-{number}.", fetcher=join.fetcher)
        apply_topics(settings)
        self.recorded.write(settings)
        log = self._folder / f"run-{number}.log"
        outcome = Outcome(join.name)
        pace = max(1, self.records // _PACE_SECONDS)
        total = sum(map(len, self.expected.values()))

        def written_share(share: float) -> None:
            self._await(int(share * total), settings, workers)

        with Workers(settings, join, log, pace, "decider") as workers:
            workers.start()
            disturb(workers, outcome, self._broker, self._draw, written_share)
            self._compare(settings, workers, outcome)
        outcome.started_again = workers.started_again
        outcome.restored = sum(released > 0 for released in takeovers(log))
        outcome.seconds = time.monotonic() - began
        return outcome

    def _await(self, count: int, settings: Settings, workers: Workers) -> None:
        topics = OUTPUTS.values()
        workers.await_until(lambda: written(settings, *topics) >= count, f"{count:,} outputs")

    def _compare(self, settings: Settings, workers: Workers, outcome: Outcome) -> None:
        """Read the outputs until nothing is missing."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            outcome.missing = outcome.unknown = outcome.unequal = outcome.duplicates = 0
            if written(settings, *OUTPUTS.values()):
                for topic in OUTPUTS:
                    self._compare_topic(settings, topic, outcome)
                if not outcome.missing or time.monotonic() > deadline:
                    return
            workers.tend()
            time.sleep(0.5)

    def _compare_topic(self, settings: Settings, topic: str, outcome: Outcome) -> None:
        # A worker that goes on from a checkpoint writes a stretch again, so what comes for the
        # first time comes in the order of the fold; nothing is ever written with other contents.
        unordered = read_topic(settings, OUTPUTS[topic])
        records = sorted(unordered, key=lambda record: (record.partition, record.offset))
        found = [(record.key or b"", record.value) for record in records]
        first = list(dict.fromkeys(found))
        expected = list(dict.fromkeys(self.expected[topic]))
        known = set(expected)
        outcome.unknown += sum(item not in known for item in first)
        outcome.missing += len(known.difference(first))
        outcome.duplicates += len(found) - len(first)
        in_order = [item for item in first if item in known]
        outcome.unequal += sum(
            item != wanted for item, wanted in zip(in_order, expected, strict=False)
        )
        outcome.digests[topic] = sha256(repr(first).encode()).hexdigest()


def main() -> int:
    """The long form, or with `--short` that of the tests."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.decide_set")
    parser.add_argument("--short", action="store_true", help="fewer runs")
    joins = SHORT if parser.parse_args().short else LONG
    with LocalBroker() as broker, tempfile.TemporaryDirectory() as folder:
        decisions = DecisionSet(broker, Path(folder))
        counts = ", ".join(f"{len(found):,} {topic}" for topic, found in decisions.expected.items())
        sys.stdout.write(f"{decisions.records:,} records recorded; they give {counts}\n")
        outcomes = []
        for number, join in enumerate(joins):
            outcomes.append(decisions.run(join, number))
            sys.stdout.write(f"{outcomes[-1]}\n")
            sys.stdout.flush()
    return conclude(outcomes, "One digest of decisions, routing, commands and control.")


if __name__ == "__main__":
    sys.exit(main())
