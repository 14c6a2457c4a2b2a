"""One input log, joined many times by workers under faults: one digest of what comes out.

`python -m tests.integration.replay_set` is the long form: 200,000 requests, 20 joins, on an
Apache Kafka of its own. It prints a line per join and exits 1 when anything differs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from pathlib import Path

from tests.agents.counting import ROOT, environment_of
from tests.integration.recorded_input import InputLog
from tidegate.agents.engine import fingerprint
from tidegate.agents.joiner import joiner_factory
from tidegate.agents.kafka import new_consumer, read_topic, watermarks
from tidegate.agents.recorded import RecordedLogs
from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics
from tidegate.infra.brokers import Broker, LocalBroker
from tidegate.schemas.errors import Unreachable
from tidegate.schemas.facts import decode_observation
from tidegate.schemas.topics import merged_topics
from tidegate.streams.folding import PartitionFold
from tidegate.streams.output import Output

PATIENCE_SECONDS = 240.0
SESSION_SECONDS = 6.0

Place = tuple[int, int, int]
"""Source partition, partition, sequence."""


@dataclass(frozen=True, slots=True)
class Join:
    """How one join of the input goes: fetch size, and what is done to its workers meanwhile."""

    name: str
    size: int = 1_000
    fetcher: str = "librdkafka"
    kills: int = 0
    second_worker: bool = False
    broker_dies: bool = False
    clock: str = ""
    hash_seed: str = "0"


SHORT = (
    Join("calm"),
    Join("one by one", size=1, hash_seed="1"),
    Join("seven by seven, killed twice", size=7, kills=2),
    Join("killed three times", kills=3, hash_seed="4711"),
    Join("a second worker joins and dies", second_worker=True),
    Join("the broker is killed and restarted", broker_dies=True),
    Join("a day ahead", clock="+1d"),
)
LONG = (
    *SHORT,
    Join("calm, aiokafka", fetcher="aiokafka"),
    Join("one by one, aiokafka", size=1, fetcher="aiokafka"),
    Join("seven by seven", size=7, hash_seed="12"),
    Join("seven by seven, aiokafka", size=7, fetcher="aiokafka", hash_seed="13"),
    Join("killed twice, aiokafka", fetcher="aiokafka", kills=2),
    Join("one by one, killed", size=1, kills=1),
    Join("killed twice, two days back", kills=2, clock="-2d"),
    Join("a second worker, aiokafka", fetcher="aiokafka", second_worker=True, hash_seed="14"),
    Join("a second worker, killed as well", second_worker=True, kills=1),
    Join("the broker dies, aiokafka", fetcher="aiokafka", broker_dies=True),
    Join("the broker dies, and the worker", broker_dies=True, kills=1, hash_seed="15"),
    Join("a day behind, aiokafka", fetcher="aiokafka", clock="-1d"),
    Join("another hash seed", hash_seed="random"),
)


@dataclass(slots=True)
class Outcome:
    """What a join gave. `digests` are over first copies, in order, by source partition."""

    join: Join
    seconds: float = 0.0
    digests: dict[int, str] = field(default_factory=dict)
    missing: int = 0
    unknown: int = 0
    unequal: int = 0
    duplicates: int = 0
    restored: int = 0
    kills: int = 0

    def __str__(self) -> str:
        found = " ".join(self.digests[source][:8] for source in sorted(self.digests))
        return (
            f"{self.join.name:36} {self.seconds:6.1f} s  {self.duplicates:6,} duplicates"
            f"  {self.restored:3} restores  {self.kills} kills  digests {found}"
            f"  missing {self.missing} unknown {self.unknown} unequal {self.unequal}"
        )


class ReplaySet:
    """The input log on a broker, what it must give, and joins of it."""

    def __init__(self, broker: Broker, folder: Path, requests: int) -> None:
        self._broker = broker
        self._folder = folder
        self._draw = random.Random(requests)
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
        outcome = Outcome(join)
        with Workers(settings, join, log) as workers:
            workers.start()
            self._disturb(settings, join, workers, outcome)
            await_until(lambda: written(settings) >= len(self.expected), "all observations", log)
            self._compare(settings, outcome, log)
        outcome.restored = restores(log)
        outcome.seconds = time.monotonic() - began
        return outcome

    def _disturb(self, settings: Settings, join: Join, workers: Workers, outcome: Outcome) -> None:
        """Do to the workers what the join says, at random moments of its progress."""
        acts: list[Callable[[], None]] = []

        def kill() -> None:
            workers.kill_first()
            outcome.kills += 1
            workers.start()

        acts += [kill] * join.kills
        if join.second_worker:
            acts += [workers.start, workers.kill_last]
        if join.broker_dies:
            acts.append(self._restart_broker)
        shares = sorted(self._draw.uniform(0.1, 0.8) for _ in acts)
        for share, act in zip(shares, acts, strict=True):
            count = int(share * len(self.expected))
            await_until(lambda count=count: written(settings) >= count, "progress", workers.log)  # type: ignore[misc]
            act()

    def _restart_broker(self) -> None:
        self._broker.kill()
        time.sleep(3.0)
        self._broker.restart()

    def _compare(self, settings: Settings, outcome: Outcome, log: Path) -> None:
        """Read the output until nothing is missing."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            outcome.missing = outcome.unknown = outcome.unequal = outcome.duplicates = 0
            first: dict[Place, bytes] = {}
            for place, found in observations(settings):
                if place not in self.expected:
                    outcome.unknown += 1
                elif first.setdefault(place, found) != found or found != self.expected[place]:
                    outcome.unequal += 1
            outcome.duplicates = written(settings) - len(first) - outcome.unknown
            outcome.missing = len(self.expected) - len(first)
            outcome.digests = digests(first)
            if not outcome.missing or time.monotonic() > deadline:
                return
            time.sleep(0.5)


class Workers:
    """Joiner processes of one join; killed at its end."""

    def __init__(self, settings: Settings, join: Join, log: Path) -> None:
        self._settings = settings
        self._join = join
        self._stack = ExitStack()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = log

    def start(self) -> None:
        """Another worker."""
        join = self._join
        clock = ["faketime", "--exclude-monotonic", "-f", join.clock] if join.clock else []
        extra = {
            "PYTHONHASHSEED": join.hash_seed,
            "TIDEGATE_INPUT_PREFIX": self._settings.input_prefix,
        }
        stream = self._stack.enter_context(self.log.open("ab"))
        process = subprocess.Popen(
            [*clock, sys.executable, "-m", "tests.integration.sized_worker", str(join.size)],
            cwd=ROOT,
            env=environment_of(self._settings, extra),
            stderr=stream,
        )
        self._processes.append(process)

    def kill_first(self) -> None:
        """SIGKILL to the worker that has run longest."""
        self._kill(0)

    def kill_last(self) -> None:
        """SIGKILL to the worker that came last."""
        self._kill(-1)

    def _kill(self, place: int) -> None:
        process = self._processes.pop(place)
        assert process.poll() is None, f"a worker ended by itself: {tail(self.log)}"
        process.kill()
        process.wait()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._stack.close()


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


def digests(first: dict[Place, bytes]) -> dict[int, str]:
    """One digest per source partition over its observations, in the order of their places."""
    hashes = {source: sha256() for source in sorted({place[0] for place in first})}
    for place in sorted(first):
        hashes[place[0]].update(repr(place).encode() + first[place])
    return {source: found.hexdigest() for source, found in hashes.items()}


def digest(value: bytes) -> bytes:
    """What is kept of an observation."""
    return blake2b(value, digest_size=16).digest()


def written(settings: Settings) -> int:
    """How many observations were written so far; 0 while nobody tells."""
    consumer = new_consumer(settings)
    try:
        ends = watermarks(settings, consumer, "observations")
    except Unreachable:
        return 0
    finally:
        consumer.close()
    return sum(high - low for low, high in ends.values())


def restores(log: Path) -> int:
    """How often a worker went on from a checkpoint that stands for records."""
    count = 0
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("{") and "partition taken over" in line:
            count += int(json.loads(line)["released"]) > 0
    return count


def await_until(condition: Callable[[], bool], what: str, log: Path) -> None:
    """Return when the condition holds; fail with the end of the log when it does not in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}: {tail(log)}"
        time.sleep(0.1)


def tail(log: Path) -> str:
    """The end of a log."""
    return log.read_text(encoding="utf-8", errors="replace")[-3_000:]


def main() -> int:
    """The long form."""
    requests = int(os.environ.get("REQUESTS", "200000"))
    with LocalBroker() as broker, tempfile.TemporaryDirectory() as folder:
        replays = ReplaySet(broker, Path(folder), requests)
        sys.stdout.write(
            f"{replays.sent.predictions:,} predictions in {replays.sent.records:,} records,"
            f" {len(replays.expected):,} observations\n"
        )
        outcomes = []
        for number, join in enumerate(LONG):
            outcomes.append(replays.run(join, number))
            sys.stdout.write(f"{outcomes[-1]}\n")
            sys.stdout.flush()
    faults = verdict(outcomes)
    sys.stdout.write("\n".join(faults or ["One digest per source partition; all copies equal."]))
    sys.stdout.write("\n")
    return 1 if faults else 0


def verdict(outcomes: list[Outcome]) -> list[str]:
    """What is wrong with a set of joins; it is also wrong when the faults showed nowhere."""
    faults = [str(it) for it in outcomes if it.missing or it.unknown or it.unequal]
    if len({json.dumps(it.digests, sort_keys=True) for it in outcomes}) != 1:
        faults.append("the joins gave different observations")
    if not sum(it.restored for it in outcomes):
        faults.append("no worker went on from a checkpoint that was not empty")
    if not sum(it.duplicates for it in outcomes):
        faults.append("nothing was written twice")
    return faults


if __name__ == "__main__":
    sys.exit(main())
