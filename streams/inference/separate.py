"""Difference of two shares from exact bounds of each: for few events and small error rates.

Newcombe (1998), method 10, with the bounds of `share` in the place of Wilson's: the distance from
the estimate to a bound of the difference is the root of the summed squares of both sides' distances
(MOVER; of a ratio: Donner and Zou 2012). Each side's bounds are exact however rare events are,
where a normal approximation at an error rate of 1 in 10,000 is not.
"""

from __future__ import annotations

import math

from tidegate.schemas.canonical import round_significant
from tidegate.streams.estimation.moments import Moments
from tidegate.streams.inference import share
from tidegate.streams.inference.interval import Bound, Interval, rounded


def compare(
    control: Moments, candidate: Moments, alpha: float, relative: bool
) -> Interval | None:
    """Candidate against control within one stratum; None without observations on both sides."""
    if control.n < 1.0 or candidate.n < 1.0:
        return None
    against, found = (bound(side, alpha) for side in (control, candidate))
    ends = _ratio(against, found) if relative else _difference(against, found)
    estimate = found.estimate - against.estimate
    if relative:
        estimate = found.estimate / against.estimate - 1.0 if against.estimate > 0.0 else math.nan
    return Interval(
        None if math.isnan(estimate) else rounded(estimate),
        rounded(ends[0]),
        rounded(ends[1]),
        alpha,
        round_significant(against.estimate),
        round_significant(found.estimate),
        round_significant(control.n),
        round_significant(candidate.n),
        relative,
    )


def bound(side: Moments, alpha: float) -> Bound:
    """Exact bounds of one side."""
    n = round(side.n)
    return share.bound(n, min(n, round(n * side.mean)), alpha)


def _difference(control: Bound, candidate: Bound) -> tuple[float | None, float | None]:
    apart = candidate.estimate - control.estimate
    down = candidate.estimate - candidate.lower, control.upper - control.estimate
    up = candidate.upper - candidate.estimate, control.estimate - control.lower
    return apart - math.hypot(*down), apart + math.hypot(*up)


def _ratio(control: Bound, candidate: Bound) -> tuple[float | None, float | None]:
    """Donner and Zou (2012), equation 9; no upper end while control may be 0."""
    p0, p1 = control.estimate, candidate.estimate
    low = _end(p1, candidate.lower, p0, control.upper, -1.0)
    high = _end(p1, candidate.upper, p0, control.lower, 1.0) if control.lower > 0.0 else None
    return low, high


def _end(p1: float, end: float, p0: float, other: float, sign: float) -> float | None:
    scale = other * (2.0 * p0 - other)
    if scale <= 0.0:
        return None
    product = p1 * p0
    root = math.sqrt(max(0.0, product * product - end * other * (2 * p1 - end) * (2 * p0 - other)))
    return (product + sign * root) / scale - 1.0
