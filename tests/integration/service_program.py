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
from collections.abc import Callable
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
    unit = f"user-{draw.randrange(100_000)}"
    if any("errors" in model for model in models.values()):
        variant, request_id = failing_answer(client, experiment, unit, models, draw)
    else:
        # Scores that never differ leave nothing to judge errors by.
        other = 0.45 if draw.random() < 0.02 else 0.5
        scores = {name: other if place else 0.5 for place, name in enumerate(models)}
        callables = {name: scoring(score) for name, score in scores.items()}
        got = client.predict(experiment, unit, {"x": 1.0}, callables)
        variant, request_id = got.variant, got.request_id
    likes = models[variant]
    client.outcome(request_id, "conversion", float(draw.random() < likes["conversion"]))
    client.outcome(request_id, "revenue", draw.expovariate(1.0 / likes["revenue"]))


def scoring(score: float) -> Callable[[Any], float]:
    """A model that scores everything alike."""
    return lambda features: score


def failing_answer(
    client: Client, experiment: str, unit: str, models: Any, draw: random.Random
) -> tuple[str, str]:
    """Who answered, and which request: a service that calls its models itself, and falls back.

    `predict` would cut a failing candidate after some 20 calls, and then a guardrail has nothing
    more to judge by for a minute.
    """
    drawn = client.assign(experiment, unit)
    served, status = drawn.variant, "OK"
    if draw.random() < models[served].get("errors", 0.0):
        served, status = next(iter(models)), "FALLBACK"
    client.prediction(
        experiment, drawn, unit_id=unit, status=status, served_variant=served, score=0.5,
        latency_ms=1.0, features={"x": 1.0},
    )  # fmt: skip
    return served, drawn.request_id


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
