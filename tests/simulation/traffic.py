"""What simulated services and the world outside write: requests, outcomes, garbage, facts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

from tests.simulation.manifests import CONTROL
from tests.simulation.people import EXPERIMENT
from tests.simulation.schedule import REWARD_WAIT_MS
from tidegate.schemas import codec
from tidegate.schemas.context import Context
from tidegate.schemas.decoding.hashes import digests
from tidegate.schemas.events import Outcome, Prediction, ShadowPrediction
from tidegate.schemas.facts import (
    COLUMNS,
    ObservationBatch,
    columns_to_table,
    empty_table,
    encode_observation,
)

REQUESTS = 16
AFTER_MS = (0, 10, -500, -501, REWARD_WAIT_MS - 1, REWARD_WAIT_MS, 700, 40, 300, -100, 9_000)
VALUES = (1.0, 1.0, 0.0, -2.5)
METRICS = ("conversion", "clicks")


@dataclass
class Traffic:
    """Requests of a schedule: which were served, and when."""

    served_ms: dict[str, int] = field(default_factory=dict)

    def request(self, a: int) -> str:
        """One of the requests there can be."""
        return f"r{a % REQUESTS}"

    def unserved(self, a: int) -> str:
        """A request to serve: a new one as long as there is one, now and then an old one."""
        if a % 9 == 0:
            return self.request(a // 9)
        return f"r{min(len(self.served_ms), REQUESTS - 1)}"

    def prediction(self, a: int, b: int, now_ms: int) -> Prediction:
        """A prediction, as services without our client write them."""
        request = self.unserved(a)
        served_ms = now_ms + (0, 0, 0, -50, 40, 800)[b % 6]
        if request in self.served_ms and b % 2:
            served_ms = self.served_ms[request]
        self.served_ms.setdefault(request, served_ms)
        variant = (CONTROL, "challenger")[a // 5 % 2]
        return Prediction(
            request_id=request, unit_id=f"u{a % 7}", served_at=served_ms, propensity=0.5,
            score=(None, 0.25)[b // 7 % 2], label=(None, "x", "y")[b // 3 % 3],
            features={"f1": 1.0, "f2": float(b % 3)} if b % 5 == 0 else None,
            measures={"m1": 2.0} if b % 4 == 0 else None,
            attributes={"region": "eu"} if b % 3 == 0 else None,
            experiment=EXPERIMENT, generation=1, variant=variant, served_variant=variant,
            model="ranker", model_version="v1", routing_epoch=0, routing_version=1 + b % 2,
            reason="SPLIT", reward_wait_ms=REWARD_WAIT_MS, status=("OK", "ERROR")[b % 8 == 0],
            deferred=True if b % 6 == 1 else None,
        )  # fmt: skip

    def outcome(self, a: int, b: int, now_ms: int) -> Outcome:
        """What came of a request, in time or not."""
        request = self.request(a)
        occurred_ms = self.served_ms.get(request, now_ms) + AFTER_MS[b % len(AFTER_MS)]
        if a // REQUESTS % 6 == 0:
            return Outcome(
                request_id=request, outcome_id="activation", value=0.0, occurred_at=occurred_ms,
                metric="", kind="ACTIVATION",
            )  # fmt: skip
        return Outcome(
            request_id=request, outcome_id=f"o{b // 16 % 3}", value=VALUES[b // 64 % len(VALUES)],
            occurred_at=occurred_ms, metric=METRICS[b // 256 % 4 == 0],
            source=("app", None)[b % 2],
        )  # fmt: skip

    def shadow(self, a: int, b: int, now_ms: int) -> ShadowPrediction:
        """What a candidate would have answered."""
        request = self.request(a)
        return ShadowPrediction(
            request_id=request, served_at=self.served_ms.get(request, now_ms),
            score=(None, 0.25, 0.5)[b % 3], label=(None, "x", "y")[b // 3 % 3],
            experiment=EXPERIMENT, generation=1, variant="challenger", model="ranker",
            model_version=f"v{b // 9 % 2}", status="OK",
        )  # fmt: skip


@cache
def garbage(topic: str) -> tuple[bytes | None, ...]:
    """Records that nobody can count."""
    outcome = Outcome(
        request_id="r1", outcome_id="x", value=1.0, occurred_at=1, metric="conversion"
    )
    sound = codec.encode(outcome)
    plain = {**outcome.to_dict(), "value": float("nan")}
    found: list[bytes | None] = [
        None, b"", b"hello", sound[:-3], sound + b"\0", sound[:10] + b"\xff" * 40,
        b"\xc3\x01" + bytes(20),
    ]  # fmt: skip
    if topic == "predictions":
        odd = {"latency_ms": -1.0, "propensity": 0.0, "reward_wait_ms": 0, "unit_id": 300 * "u"}
        whole = Traffic().prediction(1, 2, 1).to_dict()
        found += [codec.encode_record("prediction", {**whole, name: odd[name]}) for name in odd]
    if topic == "outcomes":
        far = replace(outcome, occurred_at=4_000_000_000_000)
        found += [codec.encode_record("outcome", plain), codec.encode(far)]
    return tuple(found)


def hand_made(
    source: int, sequence: int, log_time_ms: int, generation: int, key: tuple[int, int], b: int
) -> bytes:
    """A batch of facts as a joiner could have concluded them."""
    contexts = tuple(
        Context(EXPERIMENT, generation, variant, variant, "ranker", "v1", *key, reason)
        for variant, reason in ((CONTROL, "SPLIT"), ("challenger", "SPLIT"), ("blue", "SPLIT"),
                                ("challenger", "BREAKER"))
    )  # fmt: skip
    count = b % 60
    fails = sequence > 3 and b // 60 % 4 > 0
    which = [(b // 240 + row) % 4 for row in range(count)]
    whole = {"exposure": _requests(sequence, which, log_time_ms, fails)}
    if b % 2 and count:
        whole["closed"] = _requests(sequence, which, log_time_ms, False)
        whole["closed_metric"] = {
            "row": list(range(count)), "metric": [0] * count, "count": [1] * count,
            **{name: [float(row % 2) for row in range(count)]
               for name in ("first", "last", "sum", "min", "max")},
        }  # fmt: skip
    tables = {
        kind: columns_to_table(kind, whole[kind]) if kind in whole and count else empty_table(kind)
        for kind in COLUMNS
    }
    return encode_observation(ObservationBatch(
        source, 0, sequence, "engine", log_time_ms, (0, 0, 0), contexts, ((),), ("conversion",),
        tables,
    ))  # fmt: skip


def _requests(
    sequence: int, which: list[int], now_ms: int, fails: bool
) -> dict[str, list[float]]:
    size = len(which)
    numbers = [1_000 * sequence + row for row in range(size)]
    return {
        "request": [float(number) for number in numbers], "unit": [1.0] * size,
        "context": [float(place) for place in which], "attributes": [0.0] * size,
        "served_at": [float(now_ms)] * size, "propensity": [0.5] * size,
        "score": [0.1] * size, "latency": [5.0] * size,
        "status": [2.0 if fails and place else 0.0 for place in which], "weight": [1.0] * size,
    }  # fmt: skip


@cache
def digest_of(request: str) -> int:
    """How facts name a request."""
    return int.from_bytes(digests([request.encode()])[0][:8], "little")
