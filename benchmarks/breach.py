"""From a prediction with an error to the rollback decision, and from there to all confirmed, in ms.

A canary runs whose guardrail is at its bound: many requests, none failed, more than its smallest
sample. Then failures come at once, and the clock runs from the first of them until the decision
is readable. The second clock runs from the decision's Kafka timestamp, which is when the decider
wrote it, until the confirmation of the last live client is readable on `applied`. One sample per
experiment; each experiment is used once. Other traffic goes on meanwhile.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass, field

from confluent_kafka import Producer

from benchmarks.cluster import Cluster, cluster
from benchmarks.experiments import manifest
from benchmarks.report import exit_by_percentiles, heading, percentiles
from benchmarks.roles import Observer, Traffic, running
from benchmarks.rollback import CLIENTS, fleet
from benchmarks.workload import VARIANTS, Workload, prediction
from tidegate.agents.commands.orders import new_order, write_order
from tidegate.agents.kafka import Record, Tail, new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas import codec
from tidegate.schemas.events import Applied, Decision

P50_MS_MUST, P99_MS_MUST = 400.0, 1_500.0
_SOUND_REQUESTS = 2_000
_FAILURES = 200
_PATIENCE_SECONDS = 30.0


@dataclass(slots=True)
class Watch:
    """What is readable of one experiment's rollback, and since when, in seconds."""

    experiment: str
    decided_at: float = 0.0
    readable_at: float = 0.0
    confirmed: dict[str, float] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """A record of `decisions` or `applied`; ticks say nothing."""
        now = time.time()
        if record.value is None:
            return
        if record.topic.endswith("applied"):
            word = codec.decode_as(Applied, record.value)
            if word.experiment == self.experiment and VARIANTS[1] in word.rolled_back:
                self.confirmed.setdefault(word.client_id, now)
            return
        decision = codec.decode_as(Decision, record.value)
        if (decision.experiment, decision.action) == (self.experiment, "ROLLBACK"):
            self.decided_at = self.decided_at or record.timestamp_ms / 1_000
            self.readable_at = self.readable_at or now

    @property
    def is_over(self) -> bool:
        """Whether it was decided, and every client has confirmed."""
        return bool(self.readable_at) and len(self.confirmed) == CLIENTS


@dataclass(slots=True)
class Breach:
    """Sends sound requests, then failures, of one experiment after the other."""

    settings: Settings
    producer: Producer
    draw: random.Random = field(default_factory=lambda: random.Random(11))

    def predict(self, experiment: str, variant: str, status: str) -> None:
        """One request, served now."""
        record = prediction(self.draw, time.time_ns() // 1_000_000, experiment, variant)
        key = record["request_id"].encode()
        value = codec.encode_record("prediction", record | {"status": status})
        self.producer.produce(self.settings.topic("predictions"), value, key)
        self.producer.poll(0)

    def prepare(self, experiment: str) -> None:
        """Bring the guardrail to its bound: enough requests, none failed."""
        for number in range(_SOUND_REQUESTS):
            self.predict(experiment, VARIANTS[number % 2], "OK")
        self.producer.flush(10)

    def measure(self, experiment: str, tail: Tail) -> tuple[float, float]:
        """Milliseconds from the first failure to the decision, and from there to all confirmed."""
        watch, began = Watch(experiment), time.time()
        for _ in range(_FAILURES):
            self.predict(experiment, VARIANTS[1], "ERROR")
        deadline = began + _PATIENCE_SECONDS
        while time.time() < deadline and not watch.is_over:
            for record in tail.poll(0.05):
                watch.take(record)
        if not watch.is_over:
            raise TimeoutError(f"{experiment}: {len(watch.confirmed)} of {CLIENTS} confirmed")
        confirmed_at = max(watch.confirmed.values())
        return (watch.readable_at - began) * 1_000, (confirmed_at - watch.decided_at) * 1_000


def run(there: Cluster, samples: int, rate: int) -> list[tuple[float, float]]:
    """Both latencies of each sample, ms."""
    settings = there.settings
    names = [f"breach-{number}" for number in range(samples)]
    found = []
    with running(settings, there.folder, ("ticker", "joiner", "decider")), fleet(settings):
        observer = Observer(settings)
        observer.wait_live(settings.partitions, 2_000)
        for name in names:
            spec = manifest().to_json()
            write_order(settings, new_order(name, "APPLY", "bench", "benchmark", spec=spec))
        begin_ms = time.time_ns() // 1_000_000
        traffic = Traffic(settings, Workload(10**9, rate, begin_ms=begin_ms))
        breach = Breach(settings, new_producer(settings, {"linger.ms": 0}))
        for name in names:
            breach.prepare(name)
        time.sleep(3)
        with Tail(settings, ["decisions", "applied"]) as tail:
            for name in names:
                found.append(breach.measure(name, tail))
                time.sleep(breach.draw.random() * 0.2)
        traffic.close()
        observer.close()
    return found


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--rate", type=int, default=2_000, help="other events per second")
    options = parser.parse_args()
    heading(f"Error to rollback decision, {options.rate:,} other events a second")
    with cluster() as there:
        found = run(there, options.samples, options.rate)
    decided = [sample[0] for sample in found]
    percentiles("first error produced to decision readable", decided, "ms")
    confirmed = [sample[1] for sample in found]
    percentiles(f"decision written to all of {CLIENTS} clients confirmed", confirmed, "ms")
    exit_by_percentiles(decided, P50_MS_MUST, P99_MS_MUST)


if __name__ == "__main__":
    main()
