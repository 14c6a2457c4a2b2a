"""A joiner's world on a broker: services that send, tickers, workers, and what must come out."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.agents.counting import ROOT, environment_of
from tidegate.agents.breaks import recorded_breaks
from tidegate.agents.engine import ENGINE_SETTINGS, fingerprint
from tidegate.agents.joiner import joiner_factory
from tidegate.agents.kafka import Record, new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.transport.fetched import dense_runs, find_marks
from tidegate.schemas.breaks import gaps_of
from tidegate.schemas.codec import encode
from tidegate.schemas.errors import Unreachable
from tidegate.schemas.events import Event, Outcome, Prediction, ShadowPrediction
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.topics import merged_topics
from tidegate.streams.folding import PartitionFold
from tidegate.streams.merge import Fetched
from tidegate.streams.output import Output

REWARD_WAIT_MS = 2_000
PATIENCE_SECONDS = 240.0
"""How long anything may take on a busy machine before a test gives up."""

Identity = tuple[str, int, bytes]


def with_short_horizons(settings: Settings) -> Settings:
    """Times so short that requests open, close and are forgotten within a test."""
    return replace(settings, grace_ms=500, early_tolerance_ms=1_000, closed_memory_ms=3_000)


def engine_environment(settings: Settings) -> dict[str, str]:
    """Environment variables that make another process, or a command, the same engine."""
    return {f"TIDEGATE_{name.upper()}": str(getattr(settings, name)) for name in ENGINE_SETTINGS}


class Traffic(threading.Thread):
    """Sends requests and what comes of them, live, with everything that may go wrong on the way.

    Of a hundred requests 80 get an outcome, some of them late; 5 of their outcomes are sent twice
    and 2 with another value; 2 outcomes have no request; one record is no event at all. Requests
    are numbered from `first` on.
    """

    def __init__(
        self, settings: Settings, requests_per_second: int, seed: int, first: int = 0
    ) -> None:
        super().__init__(name="traffic", daemon=True)
        self._number = first
        self._settings = settings
        self._interval_seconds = 1 / requests_per_second
        self._draw = random.Random(seed)
        self._producer = new_producer(settings, {"message.timeout.ms": 0})
        self._later: list[tuple[int, str, str, bytes]] = []
        self._stopped = threading.Event()
        self.sent = 0

    def run(self) -> None:
        """Send at the rate until stopped, then what is still due, then all is acknowledged."""
        due = time.monotonic()
        while not self._stopped.is_set():
            self._request(self._number)
            self._number += 1
            self._send_due(_now_ms())
            due += self._interval_seconds
            time.sleep(max(0.0, due - time.monotonic()))
        self._send_due(_now_ms() + 60_000)
        self._producer.flush(60)

    def finish(self) -> None:
        """Stop, and wait until everything is in the logs."""
        self._stopped.set()
        self.join(70)
        assert not self.is_alive(), "the broker did not take the traffic"

    def _request(self, number: int) -> None:
        draw, now_ms = self._draw, _now_ms()
        request_id = f"request-{number}"
        self._send("predictions", request_id, encode(_prediction(request_id, draw, now_ms)))
        if draw.random() < 0.5:
            self._plan(now_ms + draw.randrange(500), _shadow(request_id, draw, now_ms))
        if draw.random() < 0.8:
            at_ms = now_ms + draw.randrange(REWARD_WAIT_MS + 700)
            outcome = _outcome(request_id, draw, at_ms)
            self._plan(at_ms, outcome)
            if draw.random() < 0.05:
                self._plan(at_ms + draw.randrange(300), outcome)
            if draw.random() < 0.02:
                self._plan(at_ms + 100, _outcome(request_id, draw, at_ms, value=-1.0))
        if draw.random() < 0.02:
            self._plan(now_ms, _outcome(f"nobody-{number}", draw, now_ms))
        if draw.random() < 0.01:
            self._send("outcomes", request_id, b"no event at all")

    def _plan(self, at_ms: int, event: ShadowPrediction | Outcome) -> None:
        name = "outcomes" if isinstance(event, Outcome) else "shadow-predictions"
        self._later.append((at_ms, name, event.request_id, encode(event)))

    def _send_due(self, now_ms: int) -> None:
        ready = [each for each in self._later if each[0] <= now_ms]
        if ready:
            self._later = [each for each in self._later if each[0] > now_ms]
            for _, name, key, value in sorted(ready):
                self._send(name, key, value)
        self._producer.poll(0)

    def _send(self, name: str, key: str, value: bytes) -> None:
        self._producer.produce(self._settings.topic(name), value, key=key.encode())
        self.sent += 1


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _prediction(request_id: str, draw: random.Random, now_ms: int) -> Event:
    variant = draw.choice(("champion", "challenger"))
    return Prediction(
        request_id=request_id,
        unit_id=f"user-{draw.randrange(1_000)}",
        served_at=now_ms,
        propensity=0.5,
        score=draw.random(),
        latency_ms=draw.expovariate(0.1),
        features={"age": draw.random()},
        attributes={"region": draw.choice(("us", "eu"))},
        experiment=f"ranker-{draw.randrange(3)}",
        generation=1,
        variant=variant,
        served_variant=variant,
        model="ranker",
        model_version="v1",
        routing_epoch=0,
        routing_version=1,
        reason="split",
        reward_wait_ms=REWARD_WAIT_MS,
        status="OK",
    )


def _shadow(request_id: str, draw: random.Random, now_ms: int) -> ShadowPrediction:
    return ShadowPrediction(
        request_id=request_id,
        served_at=now_ms,
        score=draw.random(),
        experiment="ranker-0",
        generation=1,
        variant="shadow",
        model="ranker",
        model_version="v2",
        status="OK",
    )


def _outcome(
    request_id: str, draw: random.Random, at_ms: int, value: float | None = None
) -> Outcome:
    return Outcome(
        request_id=request_id,
        outcome_id=f"{request_id}-o",
        value=draw.random() if value is None else value,
        occurred_at=at_ms,
        metric="conversion",
    )


@dataclass(slots=True)
class Findings:
    """What readers of the outputs saw, held against what the logs say must come out."""

    expected: int = 0
    missing: int = 0
    unequal: int = 0
    unknown: int = 0
    duplicates: int = 0
    restored: int = 0
    """How often a worker went on from a checkpoint that was not empty."""


@dataclass
class World:
    """Processes and traffic of one test; everything it started ends with it."""

    settings: Settings
    log: Path
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(
        self,
        role: str,
        command: Sequence[str] = ("tidegate", "worker", "--role"),
        extra: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """`python -m COMMAND ROLE` in a process of its own."""
        engine = engine_environment(self.settings)
        stream = self._stack.enter_context(self.log.open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", *command, role],
            cwd=ROOT,
            env=environment_of(self.settings, {**engine, **(extra or {})}),
            stderr=stream,
        )

        def end() -> None:
            if process.poll() is None:
                process.kill()
            process.wait()

        self._stack.callback(end)
        return process

    def traffic(self, requests_per_second: int, seed: int = 1) -> Traffic:
        """Services begin to send."""
        started = Traffic(self.settings, requests_per_second, seed)
        started.start()
        return started

    def lines(self, message: str) -> list[dict[str, object]]:
        """Log lines of the workers that say `message`."""
        found = []
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if message in line and line.startswith("{"):
                found.append(json.loads(line))
        return found

    def web_address(self, role: str) -> str:
        """Where the newest worker of a role tells of its health; empty where none did so yet."""
        told = [it for it in self.lines("health and metrics") if it.get("role") == role]
        return str(told[-1]["message"]).split()[-1] if told else ""

    def metric(self, name: str, role: str = "joiner", **labels: str) -> float:
        """Sum of a metric of the newest worker of a role, over what the labels say; -1 when nobody
        answers."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        try:
            with urllib.request.urlopen(f"{self.web_address(role)}/metrics") as answer:
                lines = answer.read().decode().splitlines()
        except (ValueError, OSError):  # nobody has an address yet, or the one that had is gone
            return -1.0
        found = (line for line in lines if line.split("{")[0].split(" ")[0] == name)
        return sum(float(it.split()[-1]) for it in found if all(word in it for word in wanted))

    def await_checkpoints(self, count: int) -> None:
        """Until so many checkpoints that stand for records were written in all."""
        self._await(lambda: self._checkpoints() >= count, f"{count} checkpoints")

    def await_takeovers(self, count: int) -> None:
        """Until workers took over so many partitions in all."""
        self._await(
            lambda: len(self.lines("partition taken over")) >= count, f"{count} partitions to move"
        )

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}: {self._tail()}"
            time.sleep(0.3)

    def _tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-4_000:]

    def _checkpoints(self) -> int:
        try:
            return sum(
                1
                for record in read_topic(self.settings, "snapshots")
                if record.value and record.key and record.key.endswith(b"/m")
            )
        except Unreachable:  # a topic just made has no leader yet
            return 0

    def findings(self) -> Findings:
        """Compare, as soon as the workers have written all; or as it is when time is up."""
        expected = reference(self.settings)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = self._compare(expected)
            if found.missing == 0 or time.monotonic() > deadline:
                return found
            time.sleep(1.0)

    def _compare(self, expected: dict[Identity, bytes]) -> Findings:
        found = Findings(expected=len(expected))
        seen: set[Identity] = set()
        for name in ("observations", "dead-letters"):
            for record in read_topic(self.settings, name):
                if record.value is None:
                    continue
                identity = identify(name, record.partition, record.value)
                if identity not in expected:
                    found.unknown += 1
                    continue
                found.unequal += expected[identity] != record.value
                found.duplicates += identity in seen
                seen.add(identity)
        found.missing = len(expected) - len(seen)
        found.restored = sum(
            int(str(line["released"])) > 0 for line in self.lines("partition taken over")
        )
        return found


def identify(name: str, partition: int, value: bytes) -> Identity:
    """What makes two outputs the same one: a batch's place in its sequence, else its bytes."""
    if name != "observations":
        return name, partition, value
    batch = decode_observation(value)
    return name, partition, b"%d/%d" % (batch.source_partition, batch.sequence)


def reference(settings: Settings) -> dict[Identity, bytes]:
    """All outputs the logs as they are now give, folded here and without interruption.

    Of what is missing in a log only what was accepted as lost is passed over.
    """
    accepted = recorded_breaks(settings)
    outputs: dict[Identity, bytes] = {}

    def emit(output: Output) -> None:
        assert output.value is not None
        identity = identify(output.topic, output.partition, output.value)
        assert outputs.setdefault(identity, output.value) == output.value
        outputs[identity] = output.value

    make = joiner_factory(settings, fingerprint(settings))
    ranks = merged_topics("joiner")
    logs: list[dict[int, list[Record]]] = []
    for topic in ranks:
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for record in read_topic(settings, topic.name):
            by_partition[record.partition].append(record)
        logs.append(by_partition)
    for partition in range(settings.partitions):
        fold = PartitionFold(partition, len(ranks), make(partition, emit))
        fold.accept(
            {rank: gaps_of(accepted, topic.name, partition) for rank, topic in enumerate(ranks)}
        )
        for rank, by_partition in enumerate(logs):
            records = by_partition[partition]
            for start, stop in dense_runs([record.offset for record in records]):
                if start < stop:
                    fold.feed(rank, _fetched(records[start:stop]))
        fold.drain()
    return outputs


def _fetched(records: Sequence[Record]) -> Fetched:
    values = [record.value for record in records]
    return Fetched(
        records[0].offset,
        values,
        find_marks(values, lambda index: records[index].headers),
        lambda index: records[index].timestamp_ms,
    )
