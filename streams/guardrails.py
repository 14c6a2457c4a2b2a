"""Guardrails: what must not happen to a candidate, judged on every batch of facts.

A guardrail fails when the harm is surely beyond its limit, with confidence that is always valid,
so it may be looked at as often as facts come; it passes when the harm is surely within. Below
`min_samples` of the candidate nothing is said: no data is neither success nor failure.
"""

from __future__ import annotations

from tidegate.schemas.manifest.spec import ExperimentSpec, Metric
from tidegate.streams.estimation import Ledger
from tidegate.streams.guardrail_reading import Case, Reading, Since
from tidegate.streams.inference import Bound, difference, method_for, share
from tidegate.streams.strategies.base import Verdict
from tidegate.streams.wording import count, number, percent, points, signed

_ROUNDED_OFF = 1e-6
"""More than rounding to 9 digits moves a bound."""


def read(spec: ExperimentSpec, index: int, candidate: str, ledger: Ledger, since: Since) -> Reading:
    """What guardrail `index` says about `candidate` on the evidence since `since`."""
    case = Case(spec, index, candidate, ledger, since)
    if case.guardrail.worse_by is not None:
        return _compared(case)
    if case.metric.quantile is not None:
        return _bounded_quantile(case)
    return _bounded_mean(case)


def may_fail(
    spec: ExperimentSpec, index: int, candidate: str, ledger: Ledger, since: Since
) -> bool:
    """Whether `read` could find a failure: False only where the estimate is within the limit.

    Bounds enclose the estimate, so there they need not be computed; batches come often, and most
    find nothing wrong.
    """
    case = Case(spec, index, candidate, ledger, since)
    guardrail = case.guardrail
    if guardrail.worse_by is not None:
        return _may_be_worse(case, guardrail.worse_by.kind == "relative")
    if case.metric.quantile is not None:
        n, above = _beyond(case)
        level, limit = above / max(n, 1), 1.0 - case.metric.quantile
    else:
        moments = ledger.moments(guardrail.metric, candidate, since.table)
        n, level, limit = int(moments.n), moments.mean, case.limit
    if n < guardrail.min_samples:
        return False
    return level >= limit if guardrail.max is not None else level <= limit


def _may_be_worse(case: Case, relative: bool) -> bool:
    pairs = case.ledger.pairs(
        case.guardrail.metric, case.spec.control, case.candidate, case.since.table
    )
    if sum(pair.candidate.n for pair in pairs) < case.guardrail.min_samples:
        return False
    estimate = difference.point_estimate(pairs, relative)
    if estimate is None:
        return False
    harm = estimate if case.metric.goal == "decrease" else -estimate
    return harm > case.limit - _ROUNDED_OFF * max(1.0, abs(case.limit))


def _beyond(case: Case) -> tuple[int, int]:
    """Requests, and those above the bound of a quantile, since evidence counts."""
    requests, beyond = case.ledger.above(case.guardrail.metric, case.candidate, case.limit)
    return requests - case.since.requests, beyond - case.since.beyond


def _compared(case: Case) -> Reading:
    """Candidate against concurrent control, stratum by stratum."""
    margin = case.guardrail.worse_by
    relative = margin is not None and margin.kind == "relative"
    pairs = case.ledger.pairs(
        case.guardrail.metric, case.spec.control, case.candidate, case.since.table
    )
    n = sum(pair.candidate.n for pair in pairs)
    if n < case.guardrail.min_samples:
        return case.reading(Verdict.NO_DATA, n, relative=relative)
    method = method_for(_is_share(case.metric))
    found = method.compare(pairs, case.guardrail.alpha, relative)
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


def _bounded_mean(case: Case) -> Reading:
    """The candidate's own mean against a bound."""
    moments = case.ledger.moments(case.guardrail.metric, case.candidate, case.since.table)
    if moments.n < case.guardrail.min_samples:
        return case.reading(Verdict.NO_DATA, moments.n)
    found = method_for(_is_share(case.metric)).bound(moments, case.guardrail.alpha)
    if found is None:
        return case.reading(Verdict.INCONCLUSIVE, moments.n, value=moments.mean)
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
        moments.n,
        value=found.estimate,
        lower=found.lower,
        upper=found.upper,
        sentence=sentence,
    )


def _bounded_quantile(case: Case) -> Reading:
    """ "p99 at most 120 ms" is "at most 1 % of requests above 120 ms"."""
    name, bound = case.guardrail.metric, case.limit
    n, above = _beyond(case)
    value = case.ledger.quantile(name, case.candidate)
    if n < case.guardrail.min_samples:
        return case.reading(Verdict.NO_DATA, n, value=value)
    allowed = 1.0 - (case.metric.quantile or 0.0)
    found = share.bound(n, above, case.guardrail.alpha)
    is_max = case.guardrail.max is not None
    verdict = _against(found, allowed, is_max)
    bounds = _bounds(verdict, is_max, percent(found.lower), percent(found.upper))
    said = "" if value is None else f" {_value(case.metric, value)}"
    sentence = (
        f"{case.label}{said}: {percent(found.estimate)} of requests above"
        f" {_value(case.metric, bound)}, {bounds}"
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


def _is_share(metric: Metric) -> bool:
    return metric.type in ("binary", "rate")


def _value(metric: Metric, value: float) -> str:
    if _is_share(metric):
        return percent(value)
    return f"{number(value)} ms" if metric.field == "latency_ms" else number(value)


def _effect(metric: Metric, effect: float, relative: bool) -> str:
    if relative:
        return f"{signed(effect * 100)} %"
    if _is_share(metric):
        return points(effect)
    sign = "" if effect < 0 else "+"
    return sign + _value(metric, effect)


def _terms(case: Case, limit: str, n: float) -> str:
    confidence = percent(1.0 - case.guardrail.alpha, 0)
    return f"(limit {limit}, {confidence} always valid, n = {count(int(n))})"
