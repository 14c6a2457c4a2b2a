"""A serving process of a test: answers requests of several experiments with the real client.

Run as `python -m tests.integration.service_program BEHAVIOUR NAME REQUESTS_PER_SECOND`; the broker
comes from the environment. BEHAVIOUR is a JSON file, `{experiment: {variant: {"conversion": p,
"revenue": mean, "errors": p}}}`, read again when it changes, so that a test can break a model.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tidegate.agents.client import Client

POLL_SECONDS = 0.5


class Behaviour:
    """How the models behave now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = 0.0
        self.experiments: dict[str, dict[str, dict[str, float]]] = {}

    def refresh(self) -> None:
        """Reads the file again, at most twice a second."""
        now = time.monotonic()
        if now - self._read_at > POLL_SECONDS:
            self._read_at = now
            self.experiments = json.loads(self._path.read_text(encoding="utf-8"))


def answer(client: Client, experiment: str, models: Any, draw: random.Random) -> None:
    """One request, and what comes of it."""

    def model_of(variant: str) -> Any:
        def model(features: Any) -> float:
            if draw.random() < models[variant].get("errors", 0.0):
                raise RuntimeError("the model fails")
            return 0.5

        return model

    got = client.predict(
        experiment, f"user-{draw.randrange(100_000)}", {"x": 1.0},
        {variant: model_of(variant) for variant in models},
    )  # fmt: skip
    likes = models[got.variant]
    client.outcome(got.request_id, "conversion", float(draw.random() < likes["conversion"]))
    client.outcome(got.request_id, "revenue", draw.expovariate(1.0 / likes["revenue"]))


def main(behaviour: Behaviour, name: str, requests_per_second: float) -> None:
    """Serve until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    draw = random.Random(name)
    with Client() as client:
        client.wait_ready(60)
        due = time.monotonic()
        while not stopped.is_set():
            behaviour.refresh()
            for experiment, models in behaviour.experiments.items():
                answer(client, experiment, models, draw)
                due += 1.0 / requests_per_second
                time.sleep(max(0.0, due - time.monotonic()))
            # A machine that was busy is not caught up with.
            due = max(due, time.monotonic() - 1.0)


if __name__ == "__main__":
    main(Behaviour(Path(sys.argv[1])), sys.argv[2], float(sys.argv[3]))
