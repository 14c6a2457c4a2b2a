"""Input for the joiner in tests: encoded records, and random logs with everything that happens."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.streams.logs import Log, feed_all, tick_all
from tidegate.schemas.codec import encode
from tidegate.schemas.decoding.hashes import digests
from tidegate.schemas.events import Outcome, Prediction, ShadowPrediction
from tidegate.schemas.facts import ObservationBatch
from tidegate.schemas.marks import Tick
from tidegate.schemas.observation_reading import decode_observation
from tidegate.streams.folding import Checkpoint, PartitionFold, Sealed
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.output import Output

SETTINGS = JoinerSettings(
    observation_partitions=2,
    facts_per_batch=40,
    early_tolerance_ms=150,
    grace_ms=100,
    closed_memory_ms=60_000,
    future_tolerance_ms=5_000,
)
BEGIN_MS = 1_700_000_000_000


def prediction(
    request_id: str, served_at_ms: int, reward_wait_ms: int = 500, **fields: Any
) -> bytes:
    """An encoded prediction."""
    given: dict[str, Any] = {
        "unit_id": f"unit-of-{request_id}", "propensity": 0.5, "score": 0.25, "latency_ms": 12.0,
        "experiment": "ranker", "generation": 1, "variant": "a", "served_variant": "a",
        "model": "m", "model_version": "1", "routing_epoch": 0, "routing_version": 3,
        "reason": "SPLIT", "status": "OK",
    }  # fmt: skip
    given |= fields
    return encode(
        Prediction(
            request_id=request_id, served_at=served_at_ms, reward_wait_ms=reward_wait_ms, **given
        )
    )


def shadow(request_id: str, served_at_ms: int, **fields: Any) -> bytes:
    """An encoded shadow prediction."""
    given: dict[str, Any] = {
        "experiment": "ranker", "generation": 1, "variant": "b", "model": "m",
        "model_version": "2", "status": "OK", "score": 0.5, "latency_ms": 20.0,
    }  # fmt: skip
    given |= fields
    return encode(ShadowPrediction(request_id=request_id, served_at=served_at_ms, **given))


def outcome(
    request_id: str,
    occurred_at_ms: int,
    value: float = 1.0,
    outcome_id: str = "o",
    metric: str = "click",
    **fields: Any,
) -> bytes:
    """An encoded outcome."""
    return encode(
        Outcome(
            request_id=request_id, outcome_id=outcome_id, value=value,
            occurred_at=occurred_at_ms, metric=metric, **fields,
        )
    )  # fmt: skip


def request(request_id: str) -> int:
    """A request as facts name it."""
    return int.from_bytes(digests([request_id.encode()])[0][:8], "little")


def random_logs(seed: int, steps: int = 500) -> list[Log]:
    """Three logs: predictions, shadows, outcomes, with repeats, junk, tombstones and stragglers.

    A request is spoken of for some hundred ms, so most outcomes meet their prediction, and some
    come before it, behind its window, behind its deadline, or have none.
    """
    source = random.Random(seed)
    logs: list[Log] = [[], [], []]
    now = BEGIN_MS
    for step in range(steps):
        now += source.randrange(25)
        if step % 8 == 0:
            tick_all(logs, now)
        rank = source.choice((0, 1, 2, 2))
        if source.random() < 0.03:
            logs[rank].append(Tick(now - source.randrange(300)))
        if source.random() < 0.03:
            logs[rank].append(source.choice((None, b"junk", b"\xc3\x01" + b"\0" * 30)))
        number = max(0, step // 4 - int(source.expovariate(0.1)))
        if rank == 0 and source.random() < 0.8:
            number = step // 4
        logs[rank].append(_random_record(source, rank, number, now))
        if source.random() < 0.1:
            logs[rank].append(logs[rank][-1])
    for later in range(1, 30):
        tick_all(logs, now + 100 * later)
    return logs


def _random_record(source: random.Random, rank: int, number: int, now: int) -> bytes:
    request_id = f"request-{number}-é"
    at_ms = now + source.choice((-400, -120, -10, 0, 0, 0, 30))
    if source.random() < 0.02:
        at_ms += 20_000
    if rank == 0:
        return prediction(
            request_id,
            at_ms,
            reward_wait_ms=source.choice((200, 300, 700)),
            experiment=("ranker", "pricer")[number % 2],
            variant="ab"[source.random() < 0.05],
            status=("OK", "ERROR")[source.random() < 0.2],
            label=source.choice((None, "cat", "dog")),
            features={"x": source.random(), "y": 2.0} if number % 3 == 0 else None,
            measures={"cost": 0.25} if number % 5 == 0 else None,
            attributes={"region": source.choice(("eu", "us"))} if number % 2 else None,
            deferred=True if number % 11 == 0 else None,
        )
    if rank == 1:
        return shadow(request_id, at_ms, label=source.choice((None, "cat")), variant="c")
    if source.random() < 0.1:
        return outcome(request_id, at_ms, 0.0, f"a{source.randrange(2)}", "", kind="ACTIVATION")
    return outcome(
        request_id, at_ms, source.choice((0.0, 1.0, -2.5)), f"o{source.randrange(3)}",
        source.choice(("click", "revenue")), source=source.choice((None, "web")),
    )  # fmt: skip


@dataclass
class Joined:
    """A joiner's fold and what came out of it."""

    fold: PartitionFold
    joiner: Joiner
    outputs: list[Output]
    checkpoints: list[Checkpoint] = field(default_factory=list)
    segments: dict[str, bytes] = field(default_factory=dict)
    emitted_before: list[int] = field(default_factory=list)

    @property
    def batches(self) -> list[ObservationBatch]:
        """The observations, decoded."""
        return [decode_observation(value) for value in self.values("observations")]

    def values(self, topic: str) -> list[bytes]:
        """Values written to a topic."""
        return [it.value for it in self.outputs if it.topic == topic and it.value is not None]


def start(
    settings: JoinerSettings = SETTINGS,
    checkpoint_records: int = 10**9,
    state: bytes | None = None,
    segments: Iterable[bytes] = (),
) -> Joined:
    """A joiner, new or from a dumped state and its segments."""
    outputs: list[Output] = []
    joiner = Joiner(1, settings, "engine-1", outputs.append)

    def keep(checkpoint: Checkpoint) -> None:
        joined.checkpoints.append(checkpoint)
        joined.emitted_before.append(len(outputs))

    def seal(sealed: Sealed) -> None:
        joined.segments |= sealed.contents

    fold = PartitionFold(1, 3, joiner, keep, checkpoint_records, seal)
    joined = Joined(fold, joiner, outputs)
    if state is not None:
        joined.fold.load(state, segments)
    return joined


def join(
    logs: Sequence[Log],
    settings: JoinerSettings = SETTINGS,
    sizes: Callable[[], int] = lambda: 50,
    seed: int | None = None,
    checkpoint_records: int = 10**9,
    state: bytes | None = None,
    segments: Iterable[bytes] = (),
) -> Joined:
    """A joiner that has seen the logs; `seed` draws the order of fetches."""
    joined = start(settings, checkpoint_records, state, segments)
    feed_all(joined.fold, logs, sizes, None if seed is None else random.Random(seed))
    return joined
