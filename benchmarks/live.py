"""Processor time of a joiner at a live rate: small fetches, a tick each 100 ms."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.cluster import cluster
from benchmarks.report import against, exit_by, heading, line
from benchmarks.roles import Observer, Role, running
from benchmarks.workload import Workload
from tidegate.agents.kafka import new_producer

PER_CENT_MUST = 80.0
_SLICE_SECONDS = 0.02
_BEHIND_MS_MAX = 2_000


def processor_seconds(role: Role) -> float:
    """What a role has used of the processor, all threads."""
    said = Path(f"/proc/{role.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=20_000, help="events per second")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    heading(f"Joiner at {options.rate:,} events a second, live")
    workload = Workload(options.rate * options.seconds // 2, options.rate)
    with cluster() as there, running(there.settings, there.folder, ("ticker", "joiner")) as roles:
        settings = there.settings
        # Ids and values are made before; times are a moment old when they are sent.
        begin_ms = time.time_ns() // 1_000_000 + 60_000
        events = [
            (event.time_ms - begin_ms, settings.topic(event.topic), event.value, event.key)
            for event in replace(workload, begin_ms=begin_ms).produced()
        ]
        observer = Observer(settings)
        observer.wait_live(settings.partitions, _BEHIND_MS_MAX)
        producer = new_producer(settings, {"linger.ms": 5, "queue.buffering.max.messages": 200_000})
        began, before = time.monotonic(), processor_seconds(roles["joiner"])
        for at_ms, topic, value, key in events:
            while (time.monotonic() - began) * 1_000 < at_ms:
                producer.poll(_SLICE_SECONDS)
            producer.produce(topic, value, key)
        producer.flush(10)
        seconds = time.monotonic() - began
        used = processor_seconds(roles["joiner"]) - before
        observer.wait_live(settings.partitions, _BEHIND_MS_MAX)
        observer.close()
    line("events", len(events) / seconds, "per second", "produced")
    line("processor time per event", used / len(events) * 1e6, "us")
    share = used / seconds * 100
    exit_by([against("share of a core", share, PER_CENT_MUST, "%", at_least=False)])


if __name__ == "__main__":
    main()
