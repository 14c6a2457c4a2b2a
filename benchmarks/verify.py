"""Replay of a recorded run: events per second, and whether everything comes out byte-equal.

A run of all roles is recorded first, live, with the workload's experiments applied.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.cluster import cluster
from benchmarks.experiments import applications
from benchmarks.report import against, exit_by, heading, line
from benchmarks.roles import Observer, Traffic, running
from benchmarks.workload import Workload
from tidegate.agents.commands.orders import write_order
from tidegate.agents.replay import Replay

EVENTS_PER_SECOND_MUST = 60_000
_DRAIN_SECONDS = 5.0


def main() -> None:
    """Record, replay, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=2_000, help="events per second, recorded")
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    heading(f"Verification of {options.seconds} s at {options.rate:,} events a second")
    with cluster() as there:
        settings = there.settings
        with running(settings, there.folder, ("ticker", "joiner", "decider")):
            observer = Observer(settings)
            observer.wait_live(settings.partitions, 2_000)
            begin_ms = time.time_ns() // 1_000_000
            for order in applications(begin_ms):
                write_order(settings, order)
            workload = Workload(
                options.rate * options.seconds // 2, options.rate, error_share=0.01,
                begin_ms=begin_ms,
            )  # fmt: skip
            Traffic(settings, workload).finish()
            time.sleep(_DRAIN_SECONDS)
            observer.close()
        began = time.process_time()
        report = Replay(settings).run()
        seconds = time.process_time() - began
        for topic, tally in report.tallies.items():
            line(topic, tally.equal, "equal", f"of {tally.recorded:,} recorded")
        for difference in report.differences[:5]:
            print(f"  DIFFERS {difference}")
        line("on the clock", report.records / report.seconds, "records/s", "all topics")
    exit_by([
        against("events", workload.events / seconds, EVENTS_PER_SECOND_MUST, "events/s",
                at_least=True),
        against("equal", float(report.equal), 1, "", at_least=True),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
