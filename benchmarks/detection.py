"""How soon a broken candidate is rolled back, and how often a sound one is: the decider's fold.

    python -m benchmarks detection [--runs 200] [--null-runs 1000] [--processes 2]

A candidate has 10 % of 1,000 requests a second; outcomes come without delay. Success is .10 on both
sides; the candidate's drops to .05 at the break. The guardrail compares it with control, one-sided
with 5 % over the whole run, margin 0, at least 200 candidate outcomes. Seeds are fixed; what is fed
is records of observations and ticks, what is waited for is the decision ROLLBACK.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.report import against, exit_by, heading, line, percentile
from tidegate.schemas import codec
from tidegate.schemas.context import Context
from tidegate.schemas.events import Control, Decision
from tidegate.schemas.facts import (
    COLUMNS,
    ObservationBatch,
    columns_to_table,
    empty_table,
    encode_observation,
)
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding.decider import CONTROL, OBSERVATIONS, Decider
from tidegate.streams.merge import Run
from tidegate.streams.output import Output

MEDIAN_MUST, P95_MUST, FALSE_SHARE_MUST = 2_500, 5_000, 0.06
NULL_REQUESTS = 20_000
BATCH = 100
TICK_MS = 100
BEGIN_MS = 1_800_000_000_000
SOUND, BROKEN, SHARE = 0.10, 0.05, 0.10
GIVEN_UP = 400_000
"""Requests after the break at which a run is given up: it counts as this."""

HEALTHY = (0, 5_000, 20_000, 100_000)


def spec() -> ExperimentSpec:
    """A canary of 10 % that is held for a day, with one guardrail on the outcome."""
    return ExperimentSpec.model_validate({
        "unit": {"key": "user"},
        "control": "champion",
        "variants": {
            "champion": {"model": "ranker", "version": "v1"},
            "challenger": {"model": "ranker", "version": "v2"},
        },
        "metrics": {
            "success": {"type": "binary", "aggregate": "first", "window": "1s", "default": 0.0,
                        "goal": "increase"},
        },
        "guardrails": [
            {"metric": "success", "compare": "control", "worse_by": 0, "min_samples": 200,
             "alpha": "5%", "on_breach": "rollback"},
        ],
        "release": [
            {"canary": {"weight": "10%", "hold": "1d"}}, {"full": {"keep_previous": "1h"}},
        ],
    })  # fmt: skip


def batch(requests: np.ndarray[Any, Any], converted: np.ndarray[Any, Any], number: int) -> bytes:
    """`requests` and how many of them `converted`, on control and candidate, as closed facts."""
    total = int(requests.sum())
    contexts = tuple(
        Context("ranker", 1, name, name, "ranker", "v1", 0, 1, "SPLIT")
        for name in ("champion", "challenger")
    )
    of = np.repeat([0, 1], requests)
    common = {
        "request": np.arange(total), "unit": np.arange(total), "context": of,
        "attributes": np.zeros(total), "served_at": np.full(total, BEGIN_MS),
        "propensity": np.where(of == 0, 1 - SHARE, SHARE), "score": np.full(total, np.nan),
        "latency": np.full(total, 20.0), "status": np.zeros(total), "weight": np.ones(total),
    }  # fmt: skip
    rows = np.concatenate([np.arange(converted[0]), requests[0] + np.arange(converted[1])])
    one = np.ones(len(rows))
    tables = {kind: empty_table(kind) for kind in COLUMNS}
    tables["exposure"] = columns_to_table("exposure", common)
    tables["closed"] = columns_to_table("closed", common)
    tables["closed_metric"] = columns_to_table("closed_metric", {
        "row": rows, "metric": np.zeros(len(rows)), "count": one, "first": one, "last": one,
        "sum": one, "min": one, "max": one,
    })  # fmt: skip
    at_ms = BEGIN_MS + number * TICK_MS
    return encode_observation(ObservationBatch(
        0, 0, number, "joiner", at_ms, (0, 0, 0), contexts, ((),), ("success",), tables,
    ))  # fmt: skip


def requests_until_rollback(seed: int, healthy: int, broken: float, most: int) -> int | None:
    """Requests of both sides since the break, at `healthy` of them; None when it never came.

    A rollback before the break counts as a negative number.
    """
    chance = np.random.default_rng(seed)
    emitted: list[Output] = []
    decider = Decider(0, 1, 1, emitted.append, "engine")
    decider.advance(BEGIN_MS)
    applied = Control(
        control_id="c", experiment="ranker", action="APPLY", spec=spec().to_json(), actor="bench",
        role="operator", reason="benchmark", issued_at=BEGIN_MS,
    )  # fmt: skip
    _send(decider, CONTROL, 0, codec.encode(applied))
    for number in range((healthy + most) // BATCH):
        decider.advance(BEGIN_MS + number * TICK_MS)
        emitted.clear()
        candidates = int(chance.binomial(BATCH, SHARE))
        requests = np.array([BATCH - candidates, candidates])
        rate = SOUND if number * BATCH < healthy else broken
        converted = chance.binomial(requests, [SOUND, rate])
        _send(decider, OBSERVATIONS, number, batch(requests, converted, number))
        for output in emitted:
            if output.topic == "decisions" and output.value is not None:
                decision = codec.decode_as(Decision, output.value)
                if decision.action == "ROLLBACK":
                    return (number + 1) * BATCH - healthy
    return None


def _send(decider: Decider, rank: int, offset: int, value: bytes) -> None:
    decider.records(Run(rank, decider.log_time_ms, offset, [value], 0, 1, lambda _: BEGIN_MS))


def _delay(healthy: int, seed: int) -> int | None:
    return requests_until_rollback(seed, healthy, BROKEN, GIVEN_UP)


def _false(seed: int) -> bool:
    return requests_until_rollback(seed, NULL_REQUESTS, SOUND, 0) is not None


def delays(healthy: int, runs: int, pool: ProcessPoolExecutor) -> bool:
    """Prints how long rollbacks took after a healthy time; whether the aim was reached."""
    found = _all(pool, partial(_delay, healthy), range(runs))
    early = sum(item is not None and item <= 0 for item in found)
    late = [GIVEN_UP if item is None else item for item in found if item is None or item > 0]
    name = f"break after {healthy:,} requests"
    note = f"{early} rolled back before" if healthy else ""
    if healthy:
        line(f"{name}: median", median(late), "requests", note)
        line(f"{name}: 95th percentile", percentile(late, 0.95), "requests")
        return True
    reached = against(f"{name}: median", median(late), MEDIAN_MUST, "requests", at_least=False)
    return against(
        f"{name}: 95th percentile", percentile(late, 0.95), P95_MUST, "requests", at_least=False
    ) and reached  # fmt: skip


def _all(
    pool: ProcessPoolExecutor, play: Callable[[int], Any], seeds: Iterable[int]
) -> list[Any]:
    return list(pool.map(play, seeds, chunksize=5))


def main() -> None:
    """Play all runs; exit 1 when an aim was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--null-runs", type=int, default=1_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--healthy", type=int, nargs="*", default=list(HEALTHY))
    asked = parser.parse_args()
    heading("requests of both sides from the break until the decision ROLLBACK")
    reached = True
    with ProcessPoolExecutor(asked.processes) as pool:
        for healthy in asked.healthy:
            reached = delays(healthy, asked.runs, pool) and reached
        if asked.null_runs:
            false = sum(_all(pool, _false, range(10_000, 10_000 + asked.null_runs)))
            reached = against(
                f"rolled back within {NULL_REQUESTS:,} requests although equal",
                100 * false / asked.null_runs, 100 * FALSE_SHARE_MUST, "%", at_least=False,
            ) and reached  # fmt: skip
    exit_by([reached])


if __name__ == "__main__":
    main()
