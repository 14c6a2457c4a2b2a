"""A fold that only counts, for tests of what hosts folds; also a worker process around it.

Its outputs and its state depend on every record before them, so that a record lost, repeated or
out of order shows in every later output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tidegate.agents.hosting.host import HandlerFactory
from tidegate.agents.settings import Settings, load_settings
from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.codec import Bindings
from tidegate.schemas.marks import Marker
from tidegate.schemas.topics import merged_topics
from tidegate.streams.merge import Run
from tidegate.streams.output import Emit, Output

JOINED = merged_topics("joiner")
ROOT = Path(__file__).resolve().parents[2]


class CountingHandler:
    """Says at every interval's end what came so far: how much of each rank, and a digest of all."""

    def __init__(self, partition: int, emit: Emit) -> None:
        self._partition = partition
        self._emit = emit
        self._sequence = 0
        self._counts: dict[str, int] = {}
        self._digest = ""
        self.failing = False

    def advance(self, log_time_ms: int) -> None:
        """An output for each interval that had records."""
        summary = {
            "sequence": self._sequence,
            "log_time_ms": log_time_ms,
            "counts": self._counts,
            "digest": self._digest,
        }
        self._sequence += 1
        key = f"{self._partition}".encode()
        self._emit(Output("observations", 0, key, canonical_json(summary).encode()))

    def records(self, run: Run) -> None:
        """Count them and fold them into the digest."""
        for value in run.values[run.start : run.stop]:
            if value == b"poison":
                raise ValueError("poison")
            name = f"{JOINED[run.rank].name}.counted"
            self._counts[name] = self._counts.get(name, 0) + 1
            self._digest = sha256(self._digest.encode() + (value or b"")).hexdigest()

    def marker(self, rank: int, offset: int, marker: Marker) -> None:
        """Markers count too."""
        self._digest = sha256(f"{self._digest}{rank}{offset}{marker.kind}".encode()).hexdigest()

    def dump(self) -> bytes:
        """The whole state."""
        return canonical_json([self._sequence, self._counts, self._digest]).encode()

    def load(self, state: bytes) -> None:
        """Become it."""
        self._sequence, self._counts, self._digest = json.loads(state)

    def counters(self) -> dict[str, int]:
        """What came so far."""
        return dict(self._counts)


def counting_role(
    settings: Settings, engine: str, bindings: Bindings | None
) -> HandlerFactory:
    """A folding role of counting handlers."""
    return CountingHandler


def environment_of(settings: Settings, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables that make a child process load these settings."""
    names = ("prefix", "partitions", "decision_partitions", "state_dir", "tick_ms", "fetcher",
             "checkpoint_records", "checkpoint_seconds", "session_timeout_seconds", "web_port",
             "web_host", "buffered_records")  # fmt: skip
    given = {f"TIDEGATE_{name.upper()}": str(getattr(settings, name)) for name in names}
    return {**os.environ, **given, "TIDEGATE_BOOTSTRAP": settings.bootstrap, **(extra or {})}


@contextmanager
def worker_process(
    settings: Settings, role: str = "joiner", log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the counting role (or a ticker) in a process of its own; killed at the end."""
    with (log or Path(os.devnull)).open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.agents.counting", role],
            cwd=ROOT,
            env=environment_of(settings),
            stderr=stream,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


if __name__ == "__main__":
    from tidegate.agents.log import configure_logs
    from tidegate.agents.worker import run_to_exit

    configure_logs(sys.argv[1])
    run_to_exit(load_settings(), sys.argv[1], {"joiner": counting_role})
