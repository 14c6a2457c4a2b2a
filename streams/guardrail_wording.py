"""From what a method found to what a guardrail says: the verdict, its numbers and its sentence."""

from __future__ import annotations

from tidegate.schemas.manifest.spec import Metric
from tidegate.streams.guardrail_reading import Case, Reading
from tidegate.streams.inference import Bound, Interval
from tidegate.streams.strategies.base import Verdict
from tidegate.streams.wording import count, number, percent, points, signed


def compared(case: Case, n: float, found: Interval | None) -> Reading:
    """Candidate against concurrent control."""
    margin = case.guardrail.worse_by
    relative = margin is not None and margin.kind == "relative"
    if found is None:
        return case.reading(Verdict.INCONCLUSIVE, n, relative=relative)
    goal = case.metric.goal
    verdict = Verdict.INCONCLUSIVE
    if found.is_worse(goal, case.limit):
        verdict = Verdict.FAIL
    elif found.is_within(goal, case.limit):
        verdict = Verdict.PASS
    sentence = ""
    if found.estimate is not None:
        sentence = (
            f"{case.label} {_value(case.metric, found.candidate)} against"
            f" {_value(case.metric, found.control)} in control:"
            f" {_effect(case.metric, found.estimate, relative)}"
        )
    if found.lower is not None and found.upper is not None:
        limit = _effect(case.metric, case.limit, relative).removeprefix("+")
        bounds = [_effect(case.metric, bound, relative) for bound in (found.lower, found.upper)]
        said = _bounds(verdict, goal == "decrease", *bounds)
        sentence += f", {said} {_terms(case, limit, found.n_candidate)}"
    return case.reading(
        verdict,
        n,
        relative=relative,
        value=found.candidate,
        control_value=found.control,
        effect=found.estimate,
        lower=found.lower,
        upper=found.upper,
        sentence=sentence,
    )


def bounded_mean(case: Case, n: float, mean: float, found: Bound | None) -> Reading:
    """The candidate's own mean against a bound."""
    if found is None:
        return case.reading(Verdict.INCONCLUSIVE, n, value=mean)
    is_max = case.guardrail.max is not None
    verdict = _against(found, case.limit, is_max)
    low, high = (_value(case.metric, bound) for bound in (found.lower, found.upper))
    sentence = (
        f"{case.label} {_value(case.metric, found.estimate)},"
        f" {_bounds(verdict, is_max, low, high)}"
        f" {_terms(case, _value(case.metric, case.limit), found.n)}"
    )
    return case.reading(
        verdict,
        n,
        value=found.estimate,
        lower=found.lower,
        upper=found.upper,
        sentence=sentence,
    )


def bounded_quantile(case: Case, n: float, value: float | None, found: Bound) -> Reading:
    """ "p99 at most 120 ms" is "at most 1 % of requests above 120 ms"."""
    allowed = 1.0 - (case.metric.quantile or 0.0)
    is_max = case.guardrail.max is not None
    verdict = _against(found, allowed, is_max)
    bounds = _bounds(verdict, is_max, percent(found.lower), percent(found.upper))
    said = "" if value is None else f" {_value(case.metric, value)}"
    sentence = (
        f"{case.label}{said}: {percent(found.estimate)} of requests above"
        f" {_value(case.metric, case.limit)}, {bounds}"
        f" {_terms(case, percent(allowed), n)}"
    )
    return case.reading(
        verdict,
        n,
        value=value,
        share=found.estimate,
        lower=found.lower,
        upper=found.upper,
        sentence=sentence,
    )


def _against(found: Bound, limit: float, is_max: bool) -> Verdict:
    surely_beyond = found.lower > limit if is_max else found.upper < limit
    surely_within = found.upper <= limit if is_max else found.lower >= limit
    if surely_beyond:
        return Verdict.FAIL
    return Verdict.PASS if surely_within else Verdict.INCONCLUSIVE


def _bounds(verdict: Verdict, is_high_bad: bool, low: str, high: str) -> str:
    """What is sure: of a failure how bad at least, of a pass how bad at most, else both bounds."""
    if verdict is Verdict.INCONCLUSIVE:
        return f"between {low} and {high}"
    is_low_sure = (verdict is Verdict.FAIL) == is_high_bad
    return f"at least {low}" if is_low_sure else f"at most {high}"


def is_share(metric: Metric) -> bool:
    """Whether values are 0 or 1."""
    return metric.type in ("binary", "rate")


def _value(metric: Metric, value: float) -> str:
    if is_share(metric):
        return percent(value)
    return f"{number(value)} ms" if metric.field == "latency_ms" else number(value)


def _effect(metric: Metric, effect: float, relative: bool) -> str:
    if relative:
        return f"{signed(effect * 100)} %"
    if is_share(metric):
        return points(effect)
    sign = "" if effect < 0 else "+"
    return sign + _value(metric, effect)


def _terms(case: Case, limit: str, n: float) -> str:
    confidence = percent(1.0 - case.guardrail.alpha, 0)
    return f"(limit {limit}, {confidence} always valid, n = {count(int(n))})"
