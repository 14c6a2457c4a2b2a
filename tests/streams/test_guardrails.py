"""What a guardrail says: fail only surely, pass only surely, nothing without data."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.streams.deciding.world import NAME, START_MS, Group, batch_of, spec_of
from tidegate.streams.estimation import Ledger, plan_of
from tidegate.streams.guardrail_reading import Reading, Since
from tidegate.streams.guardrails import may_fail, read
from tidegate.streams.strategies.base import Verdict

METRICS: dict[str, Any] = {
    "conversion": {
        "type": "binary",
        "aggregate": "first",
        "window": "30s",
        "default": 0.0,
        "goal": "increase",
    },
    "errors": {"field": "status", "type": "rate", "goal": "decrease"},
    "speed": {"field": "latency_ms", "type": "mean", "goal": "decrease"},
    "latency": {"field": "latency_ms", "type": "quantile", "quantile": 0.9, "goal": "decrease"},
    "quality": {"field": "latency_ms", "type": "quantile", "quantile": 0.1, "goal": "increase"},
}


def reading(*groups: Group, since: Since | None = None, **guardrail: Any) -> Reading:
    """The reading of one guardrail on some requests."""
    whole = {"min_samples": 100, "on_breach": "rollback", **guardrail}
    spec = spec_of(metrics=METRICS, guardrails=[whole])
    ledger = Ledger(plan_of(NAME, 1, spec))
    ledger.observe(batch_of(groups, 0, 0, START_MS, 1))
    found = read(spec, 0, "challenger", ledger, since or Since())
    suspect = may_fail(spec, 0, "challenger", ledger, since or Since())
    assert suspect or found.verdict is not Verdict.FAIL, "a failure would not have been looked at"
    return found


def pair(requests: int, control: int, candidate: int, **changes: Any) -> tuple[Group, Group]:
    """Failing requests on either side."""
    return (
        Group("champion", requests, control, **changes),
        Group("challenger", requests, candidate, **changes),
    )


def outcomes(requests: int, control: int, candidate: int) -> tuple[Group, Group]:
    """Converted requests on either side."""
    return (
        Group("champion", requests, converted=control, closed=True),
        Group("challenger", requests, converted=candidate, closed=True),
    )


WORSE: dict[str, Any] = {"metric": "errors", "compare": "control", "worse_by": "1pp"}
RELATIVE: dict[str, Any] = {"metric": "conversion", "compare": "control", "worse_by": "10%"}


@pytest.mark.parametrize(
    ("groups", "verdict"),
    [
        (pair(1000, 10, 80), Verdict.FAIL),
        (pair(1000, 10, 20), Verdict.INCONCLUSIVE),
        (pair(20_000, 200, 200), Verdict.PASS),
        (pair(99, 0, 99), Verdict.NO_DATA),
        ((Group("challenger", 5000, 5000),), Verdict.NO_DATA),
    ],
)
def test_harm_against_control_in_points(groups: tuple[Group, ...], verdict: Verdict) -> None:
    """Beyond the limit surely, within it surely, or neither; without control there is no pair."""
    assert reading(*groups, **WORSE).verdict is verdict


@pytest.mark.parametrize(
    ("groups", "verdict"),
    [
        (outcomes(20_000, 4000, 3000), Verdict.FAIL),
        (outcomes(2_000, 400, 380), Verdict.INCONCLUSIVE),
        (outcomes(50_000, 10_000, 10_500), Verdict.PASS),
        (outcomes(1_000, 0, 0), Verdict.INCONCLUSIVE),
    ],
)
def test_harm_relative_to_control(groups: tuple[Group, ...], verdict: Verdict) -> None:
    """A goal of increase is harmed by less; where control is nothing, nothing is said."""
    assert reading(*groups, **RELATIVE).verdict is verdict


def test_the_bound_named_is_the_one_nearest_to_no_harm() -> None:
    """'At most' must be true at whatever time one looks, for a benefit as for a harm."""
    better = reading(*outcomes(20_000, 3000, 4000), **RELATIVE)
    assert "+33.3 %, at least +" in better.sentence
    found = reading(*outcomes(20_000, 4000, 3000), **RELATIVE)
    assert found.upper is not None
    assert found.effect == -0.25
    said = re.search(r"-25\.0 %, at most (-[\d.]+) % \(limit 10\.0 %, 95 %", found.sentence)
    assert said is not None
    assert float(said[1]) == pytest.approx(found.upper * 100, abs=0.05)


def test_the_sentence_names_value_difference_bound_limit_confidence_and_count() -> None:
    """Everything a person needs to believe it."""
    found = reading(*pair(1000, 10, 80), **WORSE, alpha=0.01)
    assert re.fullmatch(
        r"errors 8\.0 % against 1\.0 % in control: \+7\.0 pp, at least \+\d\.\d pp"
        r" \(limit 1\.0 pp, 99 % always valid, n = 1,000\)",
        found.sentence,
    )


@pytest.mark.parametrize(
    ("guardrail", "latency_ms", "verdict"),
    [
        ({"metric": "speed", "max": "100ms"}, 150.0, Verdict.FAIL),
        ({"metric": "speed", "max": "100ms"}, 50.0, Verdict.PASS),
    ],
)
def test_bounds_on_a_mean(guardrail: dict[str, Any], latency_ms: float, verdict: Verdict) -> None:
    """The candidate's own level, with its bounds."""
    found = reading(
        Group("challenger", 500, latency_ms=latency_ms - 1),
        Group("challenger", 500, latency_ms=latency_ms + 1, reason="SPLIT", version=2),
        **guardrail,
    )
    assert found.verdict is verdict
    word = "at least" if verdict is Verdict.FAIL else "at most"
    assert found.sentence.startswith(f"speed {latency_ms:g} ms, {word} ")
    assert "(limit 100 ms, 95 % always valid, n = 1,000)" in found.sentence


def test_a_mean_that_never_varied_is_no_evidence() -> None:
    """Without spread there is no bound."""
    found = reading(Group("challenger", 500), metric="speed", max="10ms")
    assert (found.verdict, found.value) == (Verdict.INCONCLUSIVE, 20.0)


@pytest.mark.parametrize(
    ("converted", "verdict"),
    [(100, Verdict.FAIL), (400, Verdict.PASS), (210, Verdict.INCONCLUSIVE)],
)
def test_lower_bounds_on_a_share(converted: int, verdict: Verdict) -> None:
    """`min` is broken when even the upper bound is below."""
    found = reading(
        Group("challenger", 1000, converted=converted, closed=True), metric="conversion", min="20%"
    )
    assert found.verdict is verdict
    words = {Verdict.FAIL: "at most", Verdict.PASS: "at least", Verdict.INCONCLUSIVE: "between"}
    assert f", {words[verdict]} " in found.sentence


def test_bounds_need_data() -> None:
    """Also those that compare with nobody."""
    assert reading(Group("challenger", 99), metric="speed", max="1ms").verdict is Verdict.NO_DATA
    assert reading(Group("challenger", 99), metric="latency", max="1ms").verdict is Verdict.NO_DATA


@pytest.mark.parametrize(
    ("slow", "verdict"), [(300, Verdict.FAIL), (20, Verdict.PASS), (110, Verdict.INCONCLUSIVE)]
)
def test_bounds_on_a_quantile(slow: int, verdict: Verdict) -> None:
    """p90 at most 100 ms: at most 10 % of requests above it."""
    found = reading(
        Group("challenger", 1000 - slow),
        Group("challenger", slow, latency_ms=200.0),
        metric="latency",
        max="100ms",
    )
    assert (found.verdict, found.share) == (verdict, slow / 1000)
    words = {Verdict.FAIL: "at least", Verdict.PASS: "at most", Verdict.INCONCLUSIVE: "between"}
    assert f"of requests above 100 ms, {words[verdict]} " in found.sentence
    assert "(limit 10.0 %, 95 % always valid, n = 1,000)" in found.sentence


@pytest.mark.parametrize(("low", "verdict"), [(300, Verdict.FAIL), (20, Verdict.PASS)])
def test_lower_bounds_on_a_quantile(low: int, verdict: Verdict) -> None:
    """p10 at least 50: at least 90 % of requests above it."""
    found = reading(
        Group("challenger", 1000 - low, latency_ms=80.0),
        Group("challenger", low, latency_ms=1.0),
        metric="quality",
        min="50ms",
    )
    assert found.verdict is verdict


def test_means_are_compared_in_their_own_unit() -> None:
    """Milliseconds against milliseconds; without any spread nothing is said."""
    slower: dict[str, Any] = {"metric": "speed", "compare": "control", "worse_by": 5}
    flat = (Group("champion", 500), Group("challenger", 500, latency_ms=90.0))
    assert reading(*flat, **slower).verdict is Verdict.INCONCLUSIVE
    spread = (
        Group("champion", 250),
        Group("champion", 250, latency_ms=22.0),
        Group("challenger", 250, latency_ms=30.0),
        Group("challenger", 250, latency_ms=32.0),
    )
    found = reading(*spread, **slower)
    assert found.verdict is Verdict.FAIL
    assert found.sentence.startswith("speed 31 ms against 21 ms in control: +10 ms, at least +9")
    quicker = reading(*spread[2:], *spread[:2], **slower)
    assert quicker.verdict is Verdict.FAIL


def test_a_candidate_that_is_better_passes() -> None:
    """The difference carries its sign."""
    better = (
        Group("champion", 500, latency_ms=50.0),
        Group("champion", 500, latency_ms=52.0),
        Group("challenger", 500),
        Group("challenger", 500, latency_ms=22.0),
    )
    found = reading(*better, metric="speed", compare="control", worse_by=5)
    assert found.verdict is Verdict.PASS
    assert ": -30 ms, at most -29" in found.sentence


def test_evidence_may_begin_later() -> None:
    """What was judged before, and resumed, is not judged again."""
    groups = (*pair(1000, 10, 300, version=1), *pair(1000, 10, 10, version=2))
    assert reading(*groups, **WORSE).verdict is Verdict.FAIL
    later = reading(*groups, since=Since((0, 2)), **WORSE)
    assert (later.verdict, later.n) == (Verdict.INCONCLUSIVE, 1000)
    slow = (Group("challenger", 500, latency_ms=300.0), Group("challenger", 500))
    since = Since((0, 2), 500, 500)
    assert reading(*slow, metric="latency", max="100ms").verdict is Verdict.FAIL
    assert reading(*slow, since=since, metric="latency", max="100ms").verdict is Verdict.PASS


def test_what_is_within_its_limit_is_not_looked_at() -> None:
    """On every batch only what could fail is judged: estimates at their limit."""
    rules: list[tuple[dict[str, Any], bool]] = [
        (WORSE, False),
        ({"metric": "speed", "max": "30ms"}, False),
        ({"metric": "speed", "max": "20ms"}, True),
        ({"metric": "speed", "min": "10ms"}, False),
        ({"metric": "speed", "min": "25ms"}, True),
        ({"metric": "latency", "max": "30ms"}, False),
        ({"metric": "latency", "max": "10ms"}, True),
        ({"metric": "quality", "min": "10ms"}, False),
        ({"metric": "quality", "min": "30ms"}, True),
        ({"metric": "latency", "max": "10ms", "min_samples": 1_001}, False),
    ]
    for rule, expected in rules:
        spec = spec_of(metrics=METRICS, guardrails=[{**LOOKED_AT, **rule}])
        ledger = Ledger(plan_of(NAME, 1, spec))
        ledger.observe(batch_of(pair(1_000, 0, 0), 0, 0, START_MS, 1))
        assert may_fail(spec, 0, "challenger", ledger, Since()) is expected, rule


@pytest.mark.parametrize(
    ("control", "candidate", "rule", "expected"),
    [
        (100, 105, WORSE, False),
        (100, 115, WORSE, True),
        (100, 60, WORSE, False),
        (100, 115, {**WORSE, "worse_by": "20%"}, False),
        (100, 125, {**WORSE, "worse_by": "20%"}, True),
        (0, 5, {**WORSE, "worse_by": "20%"}, False),
        (100, 115, {**WORSE, "min_samples": 1_001}, False),
    ],
)
def test_a_comparison_is_looked_at_when_its_estimate_is_beyond_the_margin(
    control: int, candidate: int, rule: dict[str, Any], expected: bool
) -> None:
    """A bound can only be beyond the margin (one point here) when the estimate is."""
    spec = spec_of(metrics=METRICS, guardrails=[{**LOOKED_AT, **rule}])
    ledger = Ledger(plan_of(NAME, 1, spec))
    ledger.observe(batch_of(pair(1_000, control, candidate), 0, 0, START_MS, 1))
    assert may_fail(spec, 0, "challenger", ledger, Since()) is expected


def test_nothing_is_looked_at_without_requests() -> None:
    """No data is never failure."""
    spec = spec_of(metrics=METRICS, guardrails=[{**LOOKED_AT, **WORSE, "min_samples": 1}])
    assert not may_fail(spec, 0, "challenger", Ledger(plan_of(NAME, 1, spec)), Since())


LOOKED_AT: dict[str, Any] = {"min_samples": 100, "on_breach": "rollback"}
