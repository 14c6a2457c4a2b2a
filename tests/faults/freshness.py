"""How old the newest facts are: a reader of `observations` beside the workers."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from tidegate.agents.kafka import Record, Tail
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.observation_reading import decode_observation

_POLL_SECONDS = 0.1
_BEGIN_SECONDS = 30.0


class Freshness(threading.Thread):
    """Remembers when which log time of each source partition was first told by a batch."""

    topics: tuple[str, ...] = ("observations",)

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="freshness", daemon=True)
        self._settings = settings
        self.partitions = settings.partitions
        self._stopped = threading.Event()
        self._told: dict[int, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))

    def run(self) -> None:
        """Read until stopped; a broker that is away is waited for."""
        with self._tail() as tail:
            while not self._stopped.is_set():
                records = tail.poll(_POLL_SECONDS)
                arrived = time.time()
                for record in records:
                    if record.value is not None:
                        for partition, log_time_ms in self.told(record):
                            self._note(partition, log_time_ms, arrived)

    def told(self, record: Record) -> Iterator[tuple[int, int]]:
        """Partition and log time in ms that a record speaks for, if it does."""
        batch = decode_observation(record.value or b"")
        yield batch.source_partition, batch.log_time_ms

    def _note(self, partition: int, log_time_ms: int, arrived: float) -> None:
        log_times, arrivals = self._told[partition]
        if not log_times or log_time_ms > log_times[-1]:
            # Arrivals first: readers look from another thread.
            arrivals.append(arrived)
            log_times.append(log_time_ms)

    def _tail(self) -> Tail:
        deadline = time.monotonic() + _BEGIN_SECONDS
        while True:
            try:
                return Tail(self._settings, self.topics)
            except TidegateError:
                if time.monotonic() > deadline:
                    raise

    def stop(self) -> None:
        """Read no longer."""
        self._stopped.set()
        self.join(10)

    def since(self, moment: float) -> float | None:
        """When every source partition had told of log time `moment` (seconds), or None so far."""
        when = moment
        for source in range(self.partitions):
            log_times, arrivals = self._told[source]
            place = bisect_left(log_times, moment * 1_000)
            if place == len(log_times):
                return None
            when = max(when, arrivals[place])
        return when
