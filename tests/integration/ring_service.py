"""A serving process of a test of rings: requests of three regions, and what comes of them.

Run as `python -m tests.integration.ring_service NAME REQUESTS_PER_SECOND EXPERIMENTS`, EXPERIMENTS
being JSON, `{experiment: [regions in which its challenger never converts]}`; the broker comes from
the environment.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from tidegate.agents.client import Client

REGIONS = ("us", "eu", "asia")
CONVERSION = 0.6


def serve(name: str, requests_per_second: float, bad: Mapping[str, Sequence[str]]) -> None:
    """Serve until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    draw = random.Random(name)
    models = {variant: lambda features: 0.5 for variant in ("champion", "challenger")}
    with Client() as client:
        client.wait_ready(60)
        due = time.monotonic()
        while not stopped.is_set():
            for experiment in bad:
                region = draw.choice(REGIONS)
                unit = {"user": "", "session": str(draw.randrange(10**6))}
                answer = client.predict(experiment, unit, {}, models, {"region": region})
                likes = 0.0 if answer.variant == "challenger" and region in bad[experiment] else 1.0
                converted = draw.random() < CONVERSION * likes
                client.outcome(answer.request_id, "conversion", float(converted))
                due += 1.0 / requests_per_second
                time.sleep(max(0.0, due - time.monotonic()))
            # A machine that was busy is not caught up with.
            due = max(due, time.monotonic() - 1.0)


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3]))
