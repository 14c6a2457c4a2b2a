"""What is seen of a worker from outside: its memory and its metrics. A helper."""

from __future__ import annotations

import resource
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

_READY_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a worker at one moment.

    `counts` are `stream.class` over all partitions; `buffered` records were fetched and are not
    released to the fold; `checkpoint_pause_ms` is the longest since the worker began.
    """

    at: float
    memory_mb: float
    counts: Mapping[str, int]
    buffered: int
    pauses: int
    tick_age: float
    checkpoint_pause_ms: float

    @property
    def taken(self) -> int:
        """Records that the fold has seen."""
        return sum(number for name, number in self.counts.items() if name.endswith(".input"))

    @property
    def pending(self) -> int:
        """Records whose class is not known yet."""
        return sum(number for name, number in self.counts.items() if name.endswith(".pending"))


class Watch(threading.Thread):
    """Looks at a worker each second: its memory and its metrics."""

    def __init__(self, pid: int, log: Path) -> None:
        super().__init__(name="watch", daemon=True)
        self._statm = Path(f"/proc/{pid}/statm")
        self._log = log
        self._closing = threading.Event()
        self.looks: list[Look] = []

    def run(self) -> None:
        """Look until closed."""
        while not self._closing.wait(0.5 if len(self.looks) < 60 else 1.0):
            try:
                self.looks.append(self.look())
            except (OSError, IndexError):
                continue

    def look(self) -> Look:
        """Look now.

        Raises:
            OSError, IndexError: the worker is not there yet, or no longer.
        """
        url = self._log.read_text("utf-8").split("metrics on ")[1:][-1].split('"')[0]
        with urllib.request.urlopen(f"{url}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        totals: dict[str, float] = defaultdict(float)
        counts: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                totals[sample.name] += sample.value
                if sample.name in ("tidegate_counted_total", "tidegate_pending"):
                    kind = sample.labels.get("class", "pending")
                    counts[f"{sample.labels['stream']}.{kind}"] += int(sample.value)
        pages = int(self._statm.read_text("ascii").split()[1])
        buffered = totals["tidegate_fetched_records_total"]
        buffered -= totals["tidegate_released_records_total"]
        return Look(
            time.monotonic(), pages * resource.getpagesize() / 2**20, counts, int(buffered),
            int(totals["tidegate_fetch_pauses_total"]),
            totals.get("tidegate_tick_age_seconds", float("inf")),
            1_000 * totals["tidegate_checkpoint_longest_pause_seconds"],
        )  # fmt: skip

    @property
    def last(self) -> Look:
        """The last look, the first of all when there is none yet."""
        until(lambda: bool(self.looks), _READY_SECONDS_MAX)
        return self.looks[-1]

    def since(self, at: float) -> list[Look]:
        """Looks from a moment on."""
        return [look for look in list(self.looks) if look.at >= at]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.join()


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come to that.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s")
        time.sleep(0.1)
