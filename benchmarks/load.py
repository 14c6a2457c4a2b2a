"""More than a joiner can take: what is sent, what a worker is held back to. A helper.

Events are encoded once; each time they are sent again their requests get other ids.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, NamedTuple, Self

import numpy as np
from confluent_kafka import KafkaError, Message
from numpy.typing import NDArray

from benchmarks.cluster import read_observations
from benchmarks.workload import Workload
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.decoding.hashes import digests
from tidegate.schemas.facts import CLASSES, STREAMS

FACTS: Mapping[str, str] = {
    "predictions": "closed", "shadow-predictions": "shadow", "outcomes": "matched",
}  # fmt: skip
"""Topic of an event -> the fact that it comes to in the end."""
HORIZONS: Mapping[str, Any] = {
    "grace_ms": 3_000, "early_tolerance_ms": 10_000, "closed_memory_ms": 5_000,
}  # fmt: skip
"""Settings under which what is remembered soon has the size that it keeps."""
REWARD_WAIT_MS = 6_000
REQUESTS = 250
"""So few at a time that an outcome follows its prediction within the reward wait at any rate."""
_ROUND_DIGITS = 8
_SLICE_SECONDS = 0.02
_PERIOD_SECONDS = 0.05


class Sent(NamedTuple):
    """One record on its way."""

    topic: str
    fact: str
    key: bytes
    value: bytes


class Templates:
    """A workload that is sent over and over: the first digits of an id say which time it is."""

    def __init__(self, settings: Settings, workload: Workload, only: Iterable[str] = FACTS) -> None:
        self._parts = []
        for event in workload.produced():
            if event.topic in only:
                before, behind = event.value.split(event.key)
                rest = event.key[_ROUND_DIGITS:]
                topic = settings.topic(event.topic)
                self._parts.append((topic, FACTS[event.topic], before, rest, behind))

    def records(self, first: int = 0) -> Iterator[Sent]:
        """Without end; loads that begin at other rounds have other ids."""
        for number in count(first):
            head = b"%0*x" % (_ROUND_DIGITS, number)
            for topic, fact, before, rest, behind in self._parts:
                key = head + rest
                yield Sent(topic, fact, key, before + key + behind)


@dataclass(slots=True)
class Sums:
    """How many requests by fact, and the sum of their digests modulo 2^64.

    Equal for equal collections, in whatever order: what is lost or told twice shows in both.
    """

    counts: Counter[str] = field(default_factory=Counter)
    digests: Counter[str] = field(default_factory=Counter)

    def add(self, fact: str, requests: Sequence[int]) -> None:
        """Requests of a kind, by the first 8 bytes of their digests."""
        self.counts[fact] += len(requests)
        self.digests[fact] = (self.digests[fact] + sum(requests)) % 2**64

    def take(self, fact: str, requests: NDArray[Any]) -> None:
        """The same, from a column of facts."""
        self.counts[fact] += len(requests)
        self.digests[fact] = (self.digests[fact] + int(requests.sum(dtype="u8"))) % 2**64

    def lacks(self, other: Sums) -> dict[str, int]:
        """Facts of which the other tells something else, and how many fewer; 0: as many others."""
        return {
            fact: self.counts[fact] - other.counts[fact]
            for fact in FACTS.values()
            if (self.counts[fact], self.digests[fact]) != (other.counts[fact], other.digests[fact])
        }


class Load(threading.Thread):
    """Sends records at `rate` a second, which may change; nothing is dropped on the way.

    What is sent is added to `sums`.
    """

    def __init__(
        self, settings: Settings, records: Iterator[Sent], sums: Sums | None = None
    ) -> None:
        super().__init__(name="load", daemon=True)
        self.rate = 0.0
        self.sums = sums or Sums()
        self.total = 0
        self.failures = 0
        self._records = records
        self._closing = threading.Event()
        # Topics overtake each other within the queue, so that it must not hold many seconds.
        self._producer = new_producer(
            settings,
            {"linger.ms": 20, "queue.buffering.max.messages": 5_000, "on_delivery": self._told},
        )

    def send(self, number: int) -> None:
        """So many records, as fast as the broker takes them when its queue is full."""
        sent = list(islice(self._records, number))
        for topic, _, key, value in sent:
            while True:
                try:
                    self._producer.produce(topic, value, key)
                except BufferError:
                    self._producer.poll(0.05)
                else:
                    break
        self._producer.poll(0)
        ids = [int.from_bytes(each[:8], "little") for each in digests([it.key for it in sent])]
        for fact in FACTS.values():
            chosen = [it for it, record in zip(ids, sent, strict=True) if record.fact == fact]
            self.sums.add(fact, chosen)
        self.total += len(sent)

    def run(self) -> None:
        """Send until finished."""
        due, owed = time.monotonic(), 0.0
        while not self._closing.is_set():
            owed += self.rate * _SLICE_SECONDS
            self.send(int(owed))
            owed -= int(owed)
            due = max(due + _SLICE_SECONDS, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))

    def finish(self) -> None:
        """No more; everything is acknowledged.

        Raises:
            RuntimeError: the broker did not take all of it.
        """
        self._closing.set()
        self.join()
        self.flush()

    def flush(self) -> None:
        """Wait until all that was sent is acknowledged; raises as `finish` does."""
        if self._producer.flush(60) or self.failures:
            raise RuntimeError("the broker did not take the load")

    def _told(self, error: KafkaError | None, _: Message) -> None:
        self.failures += error is not None


class Throttle:
    """Lets a process run for a share of each 50 ms, by SIGSTOP and SIGCONT, until `lift`."""

    def __init__(self, pid: int, share: float) -> None:
        self._pid = pid
        self._share = share
        self._lifting = threading.Event()
        self._thread = threading.Thread(target=self._hold_back, daemon=True)

    def lift(self) -> None:
        """From now on the process runs all the time."""
        self._lifting.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.lift()

    def _hold_back(self) -> None:
        try:
            while not self._lifting.is_set():
                os.kill(self._pid, signal.SIGSTOP)
                time.sleep(_PERIOD_SECONDS * (1 - self._share))
                os.kill(self._pid, signal.SIGCONT)
                time.sleep(_PERIOD_SECONDS * self._share)
        except ProcessLookupError:
            pass


def told(settings: Settings) -> tuple[Sums, Counter[str]]:
    """Requests by what `observations` tells of their records, each batch once: the fact that each
    comes to, or what else became of it; and how many became what else, by `stream.class`."""
    sums, irregular = Sums(), Counter[str]()
    for batch in read_observations(settings):
        for fact in FACTS.values():
            sums.take(fact, batch.tables[fact]["request"])
        rows = batch.tables["irregular"]
        for place, (stream, fact) in enumerate(zip(STREAMS, FACTS.values(), strict=True)):
            chosen = rows["stream"] == place
            sums.take(fact, rows["request"][chosen])
            for kind, number in enumerate(np.bincount(rows["class"][chosen])):
                irregular[f"{stream}.{CLASSES[kind]}"] += int(number)
    return sums, +irregular
