"""From a prediction with an error produced to the rollback decision readable, in ms.

A canary runs whose guardrail is at its bound: many requests, none failed, more than its smallest
sample. Then failures come at once, and the clock runs from the first of them. One sample per
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
from benchmarks.workload import VARIANTS, Workload, prediction
from tidegate.agents.commands.orders import new_order, write_order
from tidegate.agents.kafka import Tail, new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas import codec
from tidegate.schemas.events import Decision

P50_MS_MUST, P99_MS_MUST = 400.0, 1_500.0
_SOUND_REQUESTS = 2_000
_FAILURES = 200
_PATIENCE_SECONDS = 30.0


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

    def measure(self, experiment: str, tail: Tail) -> float:
        """Milliseconds from the first failure to the decision."""
        began = time.time()
        for _ in range(_FAILURES):
            self.predict(experiment, VARIANTS[1], "ERROR")
        deadline = began + _PATIENCE_SECONDS
        while time.time() < deadline:
            for record in tail.poll(0.05):
                found = codec.decode_as(Decision, record.value)
                if (found.experiment, found.action) == (experiment, "ROLLBACK"):
                    return (time.time() - began) * 1_000
        raise TimeoutError(f"{experiment} was not rolled back")


def run(there: Cluster, samples: int, rate: int) -> list[float]:
    """Latency of each sample, ms."""
    settings = there.settings
    names = [f"breach-{number}" for number in range(samples)]
    found = []
    with running(settings, there.folder, ("ticker", "joiner", "decider")):
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
        with Tail(settings, ["decisions"]) as tail:
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
    percentiles("first error produced to decision readable", found, "ms")
    exit_by_percentiles(found, P50_MS_MUST, P99_MS_MUST)


if __name__ == "__main__":
    main()
