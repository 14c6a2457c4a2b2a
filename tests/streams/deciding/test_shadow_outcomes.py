"""From events to a decision: what shadows scored, held against what came of the requests.

Predictions, shadow predictions and outcomes go through a joiner into a decider; what is paired is
held against numpy over the rows that were sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.streams.deciding.world import ENGINE, METRICS, NAME, START_MS, World
from tests.streams.joining.traffic import outcome, prediction, shadow
from tidegate.streams.deciding.decider import OBSERVATIONS
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.merge import Run
from tidegate.streams.output import Output
from tidegate.streams.strategies.base import Verdict

Rows = NDArray[np.float64]
"""Per request: the answer's score, the shadow's, and the outcome, NaN where nothing came."""
WAIT_MS = 30_000
CLOSED_MS = WAIT_MS + 30_000 + 1_000
WANTED = 200


class Loop:
    """A decider in a shadow step, and the joiner it hears."""

    def __init__(self, metrics: Mapping[str, Any] = METRICS, **require: str) -> None:
        self.world = World()
        self.world.apply(
            {"shadow": {
                "until": {"requests": WANTED}, "require": require, "on_inconclusive": "hold",
            }},
            {"canary": {"weight": "10%", "hold": "60s"}},
            metrics=metrics,
            guardrails=[],
        )  # fmt: skip
        self.outputs: list[Output] = []
        settings = JoinerSettings(observation_partitions=1)
        self.joiner = Joiner(0, settings, ENGINE, self.outputs.append)
        self.joiner.advance(START_MS)
        self.sent = 0

    def send(self, rows: Rows, generation: int = 1) -> None:
        """Requests answered now, as many shadows, and what came of them."""
        logs: list[list[bytes | None]] = [[], [], []]
        for place, (score, unseen, came) in enumerate(rows.tolist(), start=self.sent):
            name = f"r{place}"
            who: dict[str, Any] = {"experiment": NAME, "generation": generation}
            logs[0].append(prediction(
                name, START_MS, WAIT_MS, score=score, variant="champion",
                served_variant="champion", **who,
            ))  # fmt: skip
            logs[1].append(shadow(name, START_MS, score=unseen, variant="challenger", **who))
            if not np.isnan(came):
                logs[2].append(outcome(name, START_MS + 5, came, metric="conversion"))
        self.sent += len(rows)
        for rank, values in enumerate(logs):
            stamp = START_MS.__add__
            self.joiner.records(Run(rank, START_MS, self.sent, values, 0, len(values), stamp))

    def at(self, since_ms: int) -> None:
        """Time moves for both, and the decider reads what the joiner has put out."""
        for at_ms in range(self.world.log_time_ms, START_MS + since_ms + 1, 500):
            self.joiner.advance(at_ms)
            for found in self.outputs:
                assert found.topic == "observations"
                self.world.send(OBSERVATIONS, found.value)
            self.outputs.clear()
            self.world.tick(500)


def rows_of(seed: int, shift: float, noise: float = 0.1, size: int = 600) -> Rows:
    """Outcomes of known probability; the answer is that and noise, the shadow lies `shift` nearer
    to what will come, or farther."""
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.2, 0.8, size=size)
    came = (rng.random(size) < chance).astype(np.float64)
    score = chance + rng.normal(0.0, noise, size=size)
    unseen = score + shift * np.sign(came - score) + rng.normal(0.0, 0.01, size=size)
    return np.stack([score, unseen, np.where(came == 1.0, came, np.nan)], axis=1)


def paired(rows: Rows) -> Rows:
    """Shadow's squared error minus the answer's, where nothing came is a 0: the default."""
    came = np.nan_to_num(rows[:, 2], nan=0.0)
    found: Rows = (rows[:, 1] - came) ** 2 - (rows[:, 0] - came) ** 2
    return found


def judged(loop: Loop) -> dict[str, Any]:
    """What the last decision says of its requirement."""
    [found] = json.loads(loop.world.last().evidence)["require"]
    told: dict[str, Any] = found
    return told


@pytest.mark.parametrize(
    ("shift", "action", "verdict"),
    [(0.1, "ADVANCE", Verdict.PASS), (-0.1, "PAUSE", Verdict.FAIL),
     (0.0, "HOLD", Verdict.INCONCLUSIVE)],
)  # fmt: skip
def test_what_is_paired_decides(shift: float, action: str, verdict: Verdict) -> None:
    """A shadow that lay nearer to what came passes, one that lay farther stops the release, and one
    of which neither is sure waits; mean and n are those of the rows that were sent."""
    rows = rows_of(1, shift)
    loop = Loop(squared_error="<= 0")
    loop.send(rows)
    loop.at(CLOSED_MS)
    last, said = loop.world.last(), judged(loop)
    assert (last.action, last.verdict) == (action, str(verdict)), last.reason
    assert said["n"] == len(rows)
    assert said["value"] == pytest.approx(paired(rows).mean(), abs=1e-9)
    assert said["lower"] < said["value"] < said["upper"]
    assert f"(required <= 0, {len(rows)} compared)" in last.reason
    tally = loop.world.state.ledger.shadows["challenger"]
    moments = tally.squared_error.moments()
    assert moments.variance == pytest.approx(paired(rows).var(ddof=1))
    [view] = [it for it in loop.world.view()["variants"] if it["name"] == "challenger"]
    assert view["squared_error"]["n"] == len(rows)
    assert view["squared_error"]["estimate"] == pytest.approx(paired(rows).mean())
    [control] = [it for it in loop.world.view()["variants"] if it["name"] == "champion"]
    assert control["squared_error"] is None


def test_nothing_is_concluded_before_as_many_requests_have_closed() -> None:
    """Compared at once, known later: the step waits for want of data, not of certainty, and says
    how many requests it knows what came of."""
    loop = Loop(squared_error="<= 0")
    loop.send(rows_of(2, shift=0.1))
    loop.at(5_000)
    assert (loop.world.last().action, loop.world.last().verdict) == ("HOLD", "NO_DATA")
    assert "0 of 200 requests" in loop.world.last().reason
    assert loop.world.view()["progress"] == "600 of 200 compared, 0 with what came of them"
    loop.at(CLOSED_MS)
    assert loop.world.last().action == "ADVANCE"


def test_only_requests_of_which_something_is_known_count() -> None:
    """Without a default, those to which nothing came are left out; absent scores count neither."""
    metrics = {**METRICS, "conversion": {
        key: value for key, value in METRICS["conversion"].items() if key != "default"
    }}  # fmt: skip
    rows = rows_of(3, shift=0.1)
    loop = Loop(metrics, squared_error="<= 0")
    loop.send(rows)
    loop.at(CLOSED_MS)
    known = rows[~np.isnan(rows[:, 2])]
    said = judged(loop)
    assert said["n"] == len(known) < len(rows)
    assert said["value"] == pytest.approx(paired(known).mean(), abs=1e-9)


def test_another_generation_is_not_paired() -> None:
    """What an earlier or later generation was answered counts for nobody here."""
    loop = Loop(squared_error="<= 0")
    loop.send(rows_of(4, shift=-0.1), generation=2)
    rows = rows_of(5, shift=0.1)
    loop.send(rows)
    loop.at(CLOSED_MS)
    assert judged(loop)["n"] == len(rows)
    assert loop.world.last().action == "ADVANCE"
