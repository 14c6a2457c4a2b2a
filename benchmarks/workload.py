"""A service's traffic, made from a seed: what every benchmark and every peer reads.

Half of all events are predictions; half of those were also answered in the shadow and half get
an outcome, so a quarter of all events are shadow predictions and a quarter outcomes. Ids are 32
hexadecimal digits, there are 8 experiments with 2 variants and 3 metrics, 12 attribute sets, and
every experiment's routing table changes once in 5 seconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tidegate.schemas import codec

BEGIN_MS = 1_763_000_000_000
REWARD_WAIT_MS = 10_000
OUTCOME_DELAY_MS_MAX = 5_000
SHADOW_DELAY_MS_MAX = 1_000

_TABLE_MS = 5_000
EXPERIMENTS = tuple(f"checkout-ranker-{number}" for number in range(8))
VARIANTS = ("champion", "challenger")
_METRICS = ("conversion", "revenue", "dwell")
_REGIONS = ("us", "eu", "ap")
_CHANNELS = ("web", "ios", "android", "mail")


class Produced(NamedTuple):
    """One event on its way: when it is sent, where to, under which key."""

    time_ms: int
    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Workload:
    """`predictions` requests at `events_per_second`, of which half are predictions.

    `features` is how many of them each prediction carries; `error_share` of the challenger's
    answers are errors. The first request is at `begin_ms`.
    """

    predictions: int
    events_per_second: int = 20_000
    features: int = 0
    error_share: float = 0.0
    seed: int = 7
    reward_wait_ms: int = REWARD_WAIT_MS
    begin_ms: int = BEGIN_MS

    @property
    def events(self) -> int:
        """Number of events, exactly."""
        return 2 * self.predictions

    @property
    def pairs(self) -> int:
        """How many shadow predictions and outcomes meet their prediction: all of them."""
        return self.predictions

    @property
    def length_ms(self) -> int:
        """From the first request to the last."""
        return self.events * 1_000 // self.events_per_second

    def produced(self) -> Iterator[Produced]:
        """All events in the order of their times."""
        # Outcomes and shadows come later than their prediction: sorted in windows, not at once.
        window: list[Produced] = []
        horizon_ms = OUTCOME_DELAY_MS_MAX + 1
        next_cut_ms = self.begin_ms + 2 * horizon_ms
        for event in self.requests():
            window.append(event)
            if event.time_ms > next_cut_ms and event.topic == "predictions":
                window.sort(key=lambda item: item.time_ms)
                done = [item for item in window if item.time_ms < event.time_ms]
                yield from done
                window = window[len(done):]
                next_cut_ms = event.time_ms + horizon_ms
        yield from sorted(window, key=lambda item: item.time_ms)

    def requests(self) -> Iterator[Produced]:
        """Requests in order of time, each followed by what comes of it."""
        draw = random.Random(self.seed)
        for number in range(self.predictions):
            at_ms = self.begin_ms + number * 2_000 // self.events_per_second
            record = self._prediction(draw, at_ms)
            key = record["request_id"].encode()
            yield Produced(at_ms, "predictions", key, codec.encode_record("prediction", record))
            # Two of four combinations each: independent of each other and exact in number.
            if number % 4 in (0, 1):
                late_ms = at_ms + draw.randrange(SHADOW_DELAY_MS_MAX)
                value = codec.encode_record("shadow-prediction", _shadow(draw, record, late_ms))
                yield Produced(late_ms, "shadow-predictions", key, value)
            if number % 4 in (1, 2):
                late_ms = at_ms + draw.randrange(OUTCOME_DELAY_MS_MAX)
                value = codec.encode_record("outcome", outcome(draw, record["request_id"], late_ms))
                yield Produced(late_ms, "outcomes", key, value)

    def _prediction(self, draw: random.Random, at_ms: int) -> dict[str, Any]:
        variant = draw.choice(VARIANTS)
        failed = variant != VARIANTS[0] and draw.random() < self.error_share
        features = {f"feature_{place:02d}": draw.gauss(0, 1) for place in range(self.features)}
        return prediction(draw, at_ms, draw.choice(EXPERIMENTS), variant) | {
            "features": features or None,
            "served_variant": VARIANTS[0] if failed else variant,
            "routing_version": (at_ms - self.begin_ms) // _TABLE_MS,
            "reward_wait_ms": self.reward_wait_ms,
            "status": "ERROR" if failed else "OK",
        }


def prediction(draw: random.Random, at_ms: int, experiment: str, variant: str) -> dict[str, Any]:
    """A sound prediction; the order of the fields is that of the schema."""
    return {
        "request_id": f"{draw.getrandbits(128):032x}",
        "unit_id": f"user-{draw.randrange(10**7):07d}",
        "served_at": at_ms,
        "propensity": 0.5,
        "score": draw.random(),
        "label": None,
        "latency_ms": draw.expovariate(0.05),
        "features": None,
        "measures": None,
        "attributes": {"channel": draw.choice(_CHANNELS), "region": draw.choice(_REGIONS)},
        "slate": None,
        "experiment": experiment,
        "generation": 1,
        "variant": variant,
        "served_variant": variant,
        "model": "ranker",
        "model_version": f"2026-11-03.{VARIANTS.index(variant)}",
        "artifact": None,
        "routing_epoch": 0,
        "routing_version": 0,
        "reason": "SPLIT",
        "reward_wait_ms": REWARD_WAIT_MS,
        "status": "OK",
        "sample_weight": None,
        "deferred": None,
    }


def _shadow(draw: random.Random, prediction: dict[str, Any], at_ms: int) -> dict[str, Any]:
    return {
        "request_id": prediction["request_id"],
        "served_at": at_ms,
        "score": draw.randrange(4_096) / 64,
        "label": None,
        "latency_ms": draw.expovariate(0.05),
        "measures": None,
        "slate": None,
        "experiment": prediction["experiment"],
        "generation": 1,
        "variant": "shadow",
        "model": "ranker",
        "model_version": "2026-11-20.0",
        "status": "OK",
    }


def outcome(draw: random.Random, request_id: str, at_ms: int) -> dict[str, Any]:
    """A sound outcome; the order of the fields is that of the schema."""
    return {
        "request_id": request_id,
        "outcome_id": f"{draw.getrandbits(64):016x}",
        # Exact in binary, so that sums do not depend on their order.
        "value": draw.randrange(4_096) / 64,
        "occurred_at": at_ms,
        "metric": draw.choice(_METRICS),
        "source": None,
        "kind": None,
        "position": None,
    }
