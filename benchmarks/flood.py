"""Endless events at a multiple of a joiner's capacity: the same batch, over and over. A helper.

Ids repeat after a while, so a joiner that got to them would find duplicates; it does not get far.
"""

from __future__ import annotations

import sys
import time

from benchmarks.workload import Workload
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings

_EVENTS_PER_SECOND = 60_000
_SLICE_SECONDS = 0.05


def main() -> None:
    """Produce until killed."""
    settings = Settings(prefix=sys.argv[2]).with_bootstrap(sys.argv[1])
    begin_ms = time.time_ns() // 1_000_000
    events = [
        (settings.topic(event.topic), event.value, event.key)
        for event in Workload(50_000, _EVENTS_PER_SECOND, begin_ms=begin_ms).produced()
    ]
    producer = new_producer(settings, {"linger.ms": 20, "queue.buffering.max.messages": 200_000})
    place, due = 0, time.monotonic()
    while True:
        for _ in range(int(_EVENTS_PER_SECOND * _SLICE_SECONDS)):
            topic, value, key = events[place % len(events)]
            place += 1
            try:
                producer.produce(topic, value, key)
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        due = max(due + _SLICE_SECONDS, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
