"""From an outcome produced to its fact readable, in ms, with all roles running on Apache Kafka."""

from __future__ import annotations

import argparse
import time

from benchmarks.cluster import cluster
from benchmarks.report import exit_by_percentiles, heading, percentiles
from benchmarks.roles import Observer, Traffic, running
from benchmarks.workload import Workload
from tidegate.schemas.decoding.hashes import digests

P50_MS_MUST, P99_MS_MUST = 120.0, 250.0
_WARM_SECONDS = 5.0


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="events per second")
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    heading(f"Freshness at {options.rate:,} events a second, a tick each 100 ms")
    with cluster() as there, running(there.settings, there.folder, ("ticker", "joiner")):
        observer = Observer(there.settings)
        observer.wait_live(there.settings.partitions, 2_000)
        begin_ms = time.time_ns() // 1_000_000
        workload = Workload(options.rate * options.seconds // 2, options.rate, begin_ms=begin_ms)
        traffic = Traffic(there.settings, workload)
        traffic.finish()
        time.sleep(2)
        observer.close()
    sent = {
        int.from_bytes(digests([event.key])[0][:8], "little"): at
        for at, event in traffic.produced
        if event.topic == "outcomes" and at * 1_000 - begin_ms > _WARM_SECONDS * 1_000
    }
    found = [
        (readable - sent[request]) * 1_000
        for readable, batch in observer.batches
        for request in batch.tables["matched"]["request"].tolist()
        if request in sent
    ]
    percentiles("outcome produced to fact readable", found, "ms")
    assert len(found) == len(sent), f"{len(found)} of {len(sent)} outcomes were told"
    exit_by_percentiles(found, P50_MS_MUST, P99_MS_MUST)


if __name__ == "__main__":
    main()
