"""Guardrails: what must not happen to a candidate, judged on every batch of facts.

A guardrail fails when the harm is surely beyond its limit, with confidence that is always valid,
so it may be looked at as often as facts come; it passes when the harm is surely within. Below
`min_samples` of the candidate nothing is said: no data is neither success nor failure.

Of its error rate alpha, `WHOLE_SHARE` is for all evidence since the generation (or a resume) began.
The rest is for later beginnings (`estimation.trail`): number j of them errs with 1 / (j (j + 1)) of
it, and those shares sum to one. So a candidate that breaks late is found without waiting for its
healthy past to be outweighed, and the guardrail as a whole still errs with alpha at most.
"""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.estimation import Ledger, Moments, Pair
from tidegate.streams.estimation.bins import Bins
from tidegate.streams.estimation.moments import Sample
from tidegate.streams.estimation.plan import watch_of
from tidegate.streams.estimation.trail import Beginning, Trail
from tidegate.streams.guardrail_reading import Case, Reading, Since
from tidegate.streams.guardrail_wording import bounded_mean, bounded_quantile, compared, is_share
from tidegate.streams.inference import Interval, difference, method_for, quantiles, separate, share
from tidegate.streams.strategies.base import Verdict

WHOLE_SHARE = 0.9

_ROUNDED_OFF = 1e-6
"""More than rounding to 9 digits moves a bound."""


def read(spec: ExperimentSpec, index: int, candidate: str, ledger: Ledger, since: Since) -> Reading:
    """What guardrail `index` says about `candidate` on the evidence since `since`.

    A failure since a later beginning is a failure; else the whole evidence speaks.
    """
    case = Case(spec, index, candidate, ledger, since)
    trail = trail_of(case)
    if case.guardrail.checks is not None or _is_compared_quantile(case):
        return _main(case, trail)
    whole = _whole(case)
    if whole.verdict in (Verdict.FAIL, Verdict.NO_DATA):
        return whole
    for found in _later(case, trail):
        # Bounds enclose the estimate: where that does no harm they prove none.
        if not _looks_worse(case, found):
            continue
        reading = _since(case, found, case.guardrail.alpha * later_share(found.start))
        if reading.verdict is Verdict.FAIL:
            return reading
    return whole


def may_fail(
    spec: ExperimentSpec, index: int, candidate: str, ledger: Ledger, since: Since
) -> bool:
    """Whether `read` could find a failure: False only where no estimate is beyond the limit.

    Bounds enclose the estimate, so there they need not be computed; batches come often, and most
    find nothing wrong. Later beginnings are looked at when enough came to say more about them.
    """
    case = Case(spec, index, candidate, ledger, since)
    trail = trail_of(case)
    if case.guardrail.checks is not None:
        return False  # the check says so, when it is due
    if _is_compared_quantile(case):
        return any(_looks_worse(case, found) for found in _of_table(case, trail))
    return _whole_may_fail(case) or (
        trail.is_due and any(_looks_worse(case, found) for found in _later(case, trail))
    )


def later_share(start: int) -> float:
    """What beginning number `start`, from 1 on, may spend of alpha.

    >>> round(sum(later_share(start) for start in range(1, 100_000)) + WHOLE_SHARE, 4)
    1.0
    """
    return (1.0 - WHOLE_SHARE) / (start * (start + 1.0))


def trail_of(case: Case) -> Trail:
    """The trail of one guardrail and one candidate."""
    return case.ledger.trail(watch_of(case.spec, case.index, case.candidate))


def _of_table(case: Case, trail: Trail) -> Iterator[Beginning]:
    """Beginnings with enough data, of a table whose evidence counts."""
    if trail.key >= case.since.table:
        for found in trail.beginnings():
            if _n(found.candidate) >= case.guardrail.min_samples:
                yield found


def _later(case: Case, trail: Trail) -> Iterator[Beginning]:
    return (found for found in _of_table(case, trail) if found.start > 0)


def _main(case: Case, trail: Trail) -> Reading:
    """Where there is no whole: a check's own evidence, or quantiles, which no strata combine.

    Quantiles begin anew with each table; table number k spends 1 / (k (k + 1)) of the share that
    is the whole's elsewhere.
    """
    enough = sorted(_of_table(case, trail), key=lambda found: found.start)
    if not enough:
        latest = list(trail.beginnings())[-1:] if trail.key >= case.since.table else []
        return case.reading(
            Verdict.NO_DATA, _n(latest[0].candidate) if latest else 0, relative=_is_relative(case)
        )
    alpha = case.guardrail.alpha
    if case.guardrail.checks is not None:
        return _since(case, enough[0], alpha)
    of_table = alpha * WHOLE_SHARE / (trail.tables * (trail.tables + 1.0))
    readings = [
        _since(case, found, of_table if found.is_first else alpha * later_share(found.start))
        for found in enough
    ]
    return next((item for item in readings if item.verdict is Verdict.FAIL), readings[0])


def _since(case: Case, found: Beginning, alpha: float) -> Reading:
    """What the evidence since a beginning says, within one table."""
    n, relative = _n(found.candidate), _is_relative(case)
    if _is_compared_quantile(case):
        quantile = case.metric.quantile or 0.0
        sides = found.control, found.candidate
        return compared(case, n, quantiles.compare(*sides, quantile, alpha, relative))
    candidate: Moments = found.candidate.moments()
    if case.guardrail.worse_by is not None:
        return compared(case, n, _apart(case, found.control.moments(), candidate, alpha))
    if case.metric.quantile is not None:
        value = case.ledger.quantile(case.guardrail.metric, case.candidate)
        return bounded_quantile(case, n, value, separate.bound(candidate, alpha))
    if is_share(case.metric):
        return bounded_mean(case, n, candidate.mean, separate.bound(candidate, alpha))
    return bounded_mean(case, n, candidate.mean, method_for(False).bound(candidate, alpha))


def _apart(case: Case, control: Moments, candidate: Moments, alpha: float) -> Interval | None:
    relative = _is_relative(case)
    if is_share(case.metric):
        return separate.compare(control, candidate, alpha, relative)
    if control.n <= 0.0:
        return None
    # Few values of a skewed metric look too certain where they happen to lie close together.
    wide = Moments(candidate.n, candidate.mean, max(candidate.variance, control.variance))
    return method_for(False).compare([Pair(control, wide)], alpha, relative)


def _looks_worse(case: Case, found: Beginning) -> bool:
    """Whether the estimate since a beginning is beyond the limit."""
    guardrail, metric = case.guardrail, case.metric
    if _is_compared_quantile(case):
        quantile = metric.quantile or 0.0
        level, base = found.candidate.quantile(quantile), found.control.quantile(quantile)
        return level is not None and base is not None and _is_beyond(case, level, base)
    level = found.candidate.moments().mean
    if guardrail.worse_by is not None:
        control = found.control.moments()
        return control.n > 0.0 and _is_beyond(case, level, control.mean)
    limit = case.limit if metric.quantile is None else 1.0 - metric.quantile
    is_above: bool = level >= limit if guardrail.max is not None else level <= limit
    return is_above


def _is_beyond(case: Case, level: float, base: float) -> bool:
    if _is_relative(case):
        if base <= 0.0:
            return False
        effect = level / base - 1.0
    else:
        effect = level - base
    return _is_harm(case, effect)


def _is_harm(case: Case, effect: float) -> bool:
    harm = effect if case.metric.goal == "decrease" else -effect
    return harm > case.limit - _ROUNDED_OFF * max(1.0, abs(case.limit))


# -- the whole evidence


def _whole(case: Case) -> Reading:
    """All evidence, stratum by stratum where it is compared."""
    alpha = case.guardrail.alpha * WHOLE_SHARE
    name, candidate, table = case.guardrail.metric, case.candidate, case.since.table
    if case.guardrail.worse_by is not None:
        pairs = case.ledger.pairs(name, case.spec.control, candidate, table)
        n, relative = sum(pair.candidate.n for pair in pairs), _is_relative(case)
        if n < case.guardrail.min_samples:
            return case.reading(Verdict.NO_DATA, n, relative=relative)
        method = method_for(is_share(case.metric))
        return compared(case, n, method.compare(pairs, alpha, relative))
    if case.metric.quantile is not None:
        requests, above = _above(case)
        value = case.ledger.quantile(name, candidate)
        if requests < case.guardrail.min_samples:
            return case.reading(Verdict.NO_DATA, requests, value=value)
        return bounded_quantile(case, requests, value, share.bound(requests, above, alpha))
    moments = case.ledger.moments(name, candidate, table)
    if moments.n < case.guardrail.min_samples:
        return case.reading(Verdict.NO_DATA, moments.n)
    found = method_for(is_share(case.metric)).bound(moments, alpha)
    return bounded_mean(case, moments.n, moments.mean, found)


def _whole_may_fail(case: Case) -> bool:
    guardrail = case.guardrail
    if guardrail.worse_by is not None:
        return _may_be_worse(case)
    if case.metric.quantile is not None:
        n, above = _above(case)
        level, limit = above / max(n, 1), 1.0 - case.metric.quantile
    else:
        moments = case.ledger.moments(guardrail.metric, case.candidate, case.since.table)
        n, level, limit = int(moments.n), moments.mean, case.limit
    if n < guardrail.min_samples:
        return False
    return level >= limit if guardrail.max is not None else level <= limit


def _may_be_worse(case: Case) -> bool:
    pairs = case.ledger.pairs(
        case.guardrail.metric, case.spec.control, case.candidate, case.since.table
    )
    if sum(pair.candidate.n for pair in pairs) < case.guardrail.min_samples:
        return False
    estimate = difference.point_estimate(pairs, _is_relative(case))
    return estimate is not None and _is_harm(case, estimate)


def _above(case: Case) -> tuple[int, int]:
    """Requests, and those above the bound of a quantile, since evidence counts."""
    requests, beyond = case.ledger.above(case.guardrail.metric, case.candidate, case.limit)
    requests = max(0, requests - case.since.requests)
    # Counts that begin anew under a changed bound must never look like fewer than none.
    return requests, min(requests, max(0, beyond - case.since.beyond))


def _is_relative(case: Case) -> bool:
    margin = case.guardrail.worse_by
    return margin is not None and margin.kind == "relative"


def _is_compared_quantile(case: Case) -> bool:
    return case.metric.quantile is not None and case.guardrail.worse_by is not None


def _n(side: object) -> float:
    if isinstance(side, Bins):
        return float(side.n)
    assert isinstance(side, Sample)
    return side.moments().n
