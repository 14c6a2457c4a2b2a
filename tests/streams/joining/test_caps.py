"""At the cap of open requests: nobody's variant matters, and memory does not grow."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import chi2_contingency

from tests.streams.joining.scenario import Scenario
from tests.streams.joining.traffic import BEGIN_MS, SETTINGS, prediction
from tidegate.streams.joining.layout import IDENTITY
from tidegate.streams.joining.requests import Requests

ROOT = Path(__file__).resolve().parents[3]
SHARES = {"champion": 0.6, "challenger": 0.3, "newcomer": 0.1}
REQUESTS, OPEN_MAX, RUN_RECORDS = 20_000, 4_000, 500


def expired_and_kept(seed: int) -> list[list[int]]:
    """Requests by what became of them and variant, when five times as many came as may be open.

    Waits, times of serving and arrival are drawn without a look at the variant.
    """
    draw = random.Random(seed)
    scenario = Scenario(replace(SETTINGS, open_max=OPEN_MAX, facts_per_batch=5_000))
    served: Counter[str] = Counter()
    for start in range(0, REQUESTS, RUN_RECORDS):
        values = []
        for number in range(start, start + RUN_RECORDS):
            [variant] = draw.choices(list(SHARES), list(SHARES.values()))
            served[variant] += 1
            at_ms = BEGIN_MS + scenario.now_ms - draw.randrange(200)
            wait_ms = draw.choice((20_000, 40_000, 60_000))
            values.append(prediction(f"r{number}", at_ms, wait_ms, variant=variant))
        scenario.send(0, *values)
        scenario.at(scenario.now_ms + 100)
    expired = Counter(row["context"].variant for row in scenario.rows("irregular"))
    assert scenario.count("prediction.expired") == expired.total() == REQUESTS - OPEN_MAX
    assert scenario.count("prediction.pending") == OPEN_MAX
    return [[expired[name], served[name] - expired[name]] for name in SHARES]


def test_variants_expire_alike() -> None:
    """Pearson's chi-square test of independence (1900): the share that is given up is the same in
    each variant, so what is left compares them as fairly as the whole did."""
    found = expired_and_kept(seed=1)
    assert chi2_contingency(found).pvalue > 0.01
    shares = [expired / (expired + kept) for expired, kept in found]
    assert max(shares) - min(shares) < 0.02


def test_a_partial_cap_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test sees a cap that spares a variant now and then."""
    whole = Requests.expire

    def partial(self: Requests) -> tuple[int, bytes, bytes]:
        deadline_ms, key, value = whole(self)
        if IDENTITY.unpack_from(value)[2] or key[0] % 4:
            return deadline_ms, key, value
        # Of the variant that came first, every fourth is let in again, and the next one goes.
        other = whole(self)
        self.timer(self.latest_deadline_ms).append(key)
        self.open[key] = value
        return other

    monkeypatch.setattr(Requests, "expire", partial)
    assert chi2_contingency(expired_and_kept(seed=1)).pvalue < 1e-6


def test_a_lowered_cap_holds_from_the_next_request_on() -> None:
    """State of an engine with a higher cap: what is too much is given up at once, and told."""
    scenario = Scenario(replace(SETTINGS, open_max=9))
    for number in range(9):
        scenario.predict(f"r{number}", reward_wait_ms=1_000 * (9 - number))
    scenario.settings = replace(SETTINGS, open_max=3)
    scenario.reload().predict("last", reward_wait_ms=9_500)
    assert scenario.count("prediction.expired") == 7
    assert scenario.count("prediction.pending") == 3
    scenario.outcome("r0").outcome("r1").outcome("last").outcome("r2").at(20_000)
    assert scenario.count("outcome.counted") == 3
    assert scenario.count("prediction.counted") == 3


FILL = """
import sys
from pathlib import Path
from dataclasses import replace
from tests.streams.joining.scenario import Scenario
from tests.streams.joining.traffic import BEGIN_MS, SETTINGS, prediction
template = prediction("0" * 32, BEGIN_MS, 60_000)
place = template.index(b"0" * 32)
open_max, requests = map(int, sys.argv[1:])
scenario = Scenario(replace(SETTINGS, open_max=open_max, facts_per_batch=5_000))
def resident_kb():
    [line] = [it for it in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in it]
    return int(line.split()[1])
for start in range(0, requests, 2_000):
    if start == 2 * open_max:
        before = resident_kb()
    scenario.send(0, *(
        template[:place] + b"%032x" % number + template[place + 32 :]
        for number in range(start, start + 2_000)
    ))
    scenario.at(scenario.now_ms + 100)
    scenario.outputs.clear()
    if start % 50_000 == 0:  # as folds do
        scenario.joiner.seal()
print(resident_kb() - before, scenario.count("prediction.expired"))
"""


def test_memory_at_the_cap_does_not_grow() -> None:
    """Ten times as many requests as may be open, none of them ever joined, in a process of its own:
    once the cap is reached, the next four fifths take no memory (they would take 45 MB)."""
    open_max, requests = 40_000, 400_000
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(open_max), str(requests)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    grown_kb, expired = map(int, done.stdout.split())
    assert expired == requests - open_max
    assert grown_kb < 10_000
