"""Replay of a recorded run: events per second, and whether everything comes out byte-equal.

A run of all roles is recorded first: they catch up with filled topics while the workload's
experiments run, and are live for some seconds.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.cluster import cluster, prefill
from benchmarks.experiments import applications
from benchmarks.report import against, exit_by, heading, line
from benchmarks.roles import Observer, running
from benchmarks.workload import Workload
from tidegate.agents.commands.orders import write_order
from tidegate.agents.replay import Replay

EVENTS_PER_SECOND_MUST = 60_000
_CATCH_UP_SECONDS_MAX = 600.0
_LIVE_SECONDS = 5.0


def main() -> None:
    """Record, replay, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=250_000, help="half of the events")
    parser.add_argument("--rate", type=int, default=40_000, help="events per second of log time")
    options = parser.parse_args()
    workload = Workload(options.predictions, options.rate, error_share=0.005)
    heading(f"Verification of {workload.events:,} events at {options.rate:,} a second")
    with cluster() as there:
        settings = there.settings
        prefill(settings, workload)
        for order in applications(time.time_ns() // 1_000_000):
            write_order(settings, order)
        with running(settings, there.folder, ("ticker", "joiner", "decider")):
            observer = Observer(settings)
            observer.wait_live(settings.partitions, 2_000, _CATCH_UP_SECONDS_MAX)
            time.sleep(_LIVE_SECONDS)
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
