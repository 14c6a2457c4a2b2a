"""Cameras that send images to the serving processes, and people who say later what was on them.

Run as `python -m tidegate.agents.demo.traffic SETTINGS STATUS PORT...`. Requests come at a steady
rate; the truth about each follows after a random delay, some of it never. It keeps what users saw
(requests, right answers, failures, by variant) in the file STATUS.
"""

from __future__ import annotations

import heapq
import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tidegate import Client
from tidegate.agents.demo.models import TRAINING_SEGMENTS, segments

REQUESTS_PER_SECOND = 50
CAMERAS = 5_000
_DELAY_SECONDS_MEAN = 0.5
_DELAY_SECONDS_MAX = 2.5
_SILENT_SHARE = 0.02


class Truth:
    """Outcomes that are still on their way, told when their time has come."""

    def __init__(self, client: Client, seed: int) -> None:
        self._client = client
        self._random = random.Random(seed)
        self._waiting: list[tuple[float, str, float]] = []
        self._lock = threading.Lock()

    def expect(self, request_id: str, is_correct: bool) -> None:
        """Somebody looks at the answer later, or never."""
        with self._lock:
            if self._random.random() < _SILENT_SHARE:
                return
            delay = min(self._random.expovariate(1 / _DELAY_SECONDS_MEAN), _DELAY_SECONDS_MAX)
            heapq.heappush(self._waiting, (time.monotonic() + delay, request_id, float(is_correct)))

    def tell_due(self) -> None:
        """Send what is due."""
        now = time.monotonic()
        with self._lock:
            due = []
            while self._waiting and self._waiting[0][0] <= now:
                due.append(heapq.heappop(self._waiting))
        for _, request_id, value in due:
            self._client.outcome(request_id, "correct", value, outcome_id=request_id)


class Cameras:
    """Sends images to one serving process, one after another, at a steady rate."""

    def __init__(self, port: int, seed: int, truth: Truth, seen: Counter[str]) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._truth = truth
        self._seen = seen

    def run(self, stopped: threading.Event) -> None:
        """Send until stopped; a connection that breaks is opened again."""
        images = segments()[TRAINING_SEGMENTS:]
        connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
        following = time.monotonic()
        while not stopped.is_set():
            features, label = self._random.choice(images)
            camera = f"camera-{self._random.randrange(CAMERAS)}"
            try:
                answer = _ask(connection, {"unit": camera, "features": features})
            except (OSError, HTTPException):
                connection.close()
                self._seen["unanswered"] += 1
            else:
                is_correct = answer["value"] == label
                self._truth.expect(answer["request_id"], is_correct)
                self._seen["requests"] += 1
                self._seen[f"{answer['variant']} requests"] += 1
                self._seen[f"{answer['variant']} correct"] += is_correct
                self._seen["fallbacks"] += answer["fallback"]
            following += 1 / REQUESTS_PER_SECOND
            # Behind by more than a second, the rest is given up rather than sent in a burst.
            following = max(following, time.monotonic() - 1)
            stopped.wait(max(0.0, following - time.monotonic()))
        connection.close()


def _ask(connection: HTTPConnection, question: dict[str, Any]) -> dict[str, Any]:
    connection.request("POST", "/predict", json.dumps(question))
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return answer


def run(settings: Path, status: Path, ports: list[int]) -> None:
    """Send traffic and truth until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    seen: Counter[str] = Counter()
    with Client.from_file(settings) as client:
        truth = Truth(client, seed=1)
        for number, port in enumerate(ports):
            cameras = Cameras(port, number, truth, seen)
            threading.Thread(target=cameras.run, args=(stopped,), daemon=True).start()
        while not stopped.wait(0.05):
            truth.tell_due()
            waiting = status.with_suffix(".new")
            waiting.write_text(json.dumps(dict(seen)), encoding="utf-8")
            waiting.rename(status)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), [int(port) for port in sys.argv[3:]])
