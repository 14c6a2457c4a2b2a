"""Roles of Tidegate as processes of their own, as in production, and traffic for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from benchmarks.workload import Produced, Workload
from tidegate.agents.kafka import Tail, new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.facts import ObservationBatch
from tidegate.schemas.observation_reading import decode_observation

_READY_SECONDS_MAX = 60.0


def environment(settings: Settings) -> dict[str, str]:
    """What tells another process these settings."""
    numbers = {
        f"TIDEGATE_{item.name.upper()}": str(value)
        for item in fields(Settings)
        if isinstance(value := getattr(settings, item.name), int | float)
    }
    return {
        **os.environ,
        **numbers,
        "TIDEGATE_BOOTSTRAP": settings.bootstrap,
        "TIDEGATE_PREFIX": settings.prefix,
        "TIDEGATE_STATE_DIR": str(settings.state_dir),
    }


class Role:
    """One role in a process."""

    def __init__(self, settings: Settings, role: str, log: Path) -> None:
        self._errors = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tidegate", "worker", "--role", role],
            env=environment(settings), stdin=subprocess.DEVNULL, stdout=self._errors,
            stderr=self._errors,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, without a goodbye."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL when that takes longer than 10 s."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


@contextmanager
def running(settings: Settings, folder: Path, roles: Sequence[str]) -> Iterator[Mapping[str, Role]]:
    """Roles that run while inside."""
    started = {role: Role(settings, role, folder / f"{role}.log") for role in roles}
    try:
        yield started
    finally:
        for role in started.values():
            role.stop()


class Observer:
    """Follows `observations` on a thread; tells each batch with the time it was readable."""

    def __init__(self, settings: Settings) -> None:
        self._tail = Tail(settings, ["observations"])
        self._closing = threading.Event()
        self._seen: set[tuple[int, int, int]] = set()
        self.batches: list[tuple[float, ObservationBatch]] = []
        self.log_times_ms: dict[int, int] = {}
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def wait_live(self, partitions: int, behind_ms: int, seconds: float = 120.0) -> float:
        """Wait until every source partition is at most `behind_ms` behind now; when that was.

        Raises:
            TimeoutError: it did not come to that.
        """
        deadline = time.time() + seconds
        while time.time() < deadline:
            oldest_ms = min(self.log_times_ms.values(), default=0)
            now = time.time()
            if len(self.log_times_ms) == partitions and now * 1_000 - oldest_ms <= behind_ms:
                return now
            time.sleep(0.01)
        raise TimeoutError(f"source partitions reached {self.log_times_ms}")

    def close(self) -> None:
        """Stop following."""
        self._closing.set()
        self._thread.join()
        self._tail.close()

    def _follow(self) -> None:
        while not self._closing.is_set():
            for record in self._tail.poll(0.05):
                if record.value is None:
                    continue
                now, batch = time.time(), decode_observation(record.value)
                place = (batch.source_partition, batch.partition, batch.sequence)
                if place not in self._seen:
                    self._seen.add(place)
                    self.batches.append((now, batch))
                    self.log_times_ms[batch.source_partition] = batch.log_time_ms


class Traffic:
    """A workload produced live, on a thread, at its own pace; `produced` tells when what went."""

    def __init__(self, settings: Settings, workload: Workload) -> None:
        self._settings = settings
        self._workload = workload
        self._producer = new_producer(settings, {"linger.ms": 0})
        self._closing = threading.Event()
        self.produced: list[tuple[float, Produced]] = []
        self._thread = threading.Thread(target=self._produce, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the last event."""
        self._thread.join()

    def close(self) -> None:
        """Stop now."""
        self._closing.set()
        self._thread.join()

    def _produce(self) -> None:
        begin = time.time()
        for event in self._workload.produced():
            due = begin + (event.time_ms - self._workload.begin_ms) / 1_000
            while (wait := due - time.time()) > 0:
                self._producer.poll(min(wait, 0.01))
            if self._closing.is_set():
                break
            self.produced.append((time.time(), event))
            self._producer.produce(self._settings.topic(event.topic), event.value, event.key)
        self._producer.flush(10)
