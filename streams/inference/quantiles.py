"""Difference of a quantile: candidate against concurrent control, exact at any time.

A value x is surely below the quantile q when the share of values at or above x is surely more than
1 - q: at the true quantile that share is known, so one mixture supermartingale of `share` bounds it
at all times at once (Howard and Ramdas: Sequential estimation of quantiles, Bernoulli 28, 2022,
arXiv 1906.09712). Either side misses with alpha/2, so their difference misses with alpha at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tidegate.schemas.canonical import round_significant
from tidegate.streams.estimation.bins import Bins
from tidegate.streams.inference import share
from tidegate.streams.inference.interval import Interval, rounded


@dataclass(frozen=True, slots=True)
class Side:
    """A quantile between bounds that each miss it with the probability asked for."""

    estimate: float
    lower: float | None
    upper: float | None


def bound(bins: Bins, quantile: float, alpha: float) -> Side | None:
    """Bounds of one sample's quantile, at edges of bins; None without values."""
    estimate = bins.quantile(quantile)
    if estimate is None:
        return None
    enough = _surely_more(bins.n, 1.0 - quantile, alpha)
    below = _surely_more(bins.n, quantile, alpha)
    lower = upper = None
    above = 0
    for low, high, count in bins.descending():
        above += count
        if upper is None and below is not None and above > bins.n - below:
            upper = high
        if enough is not None and above >= enough:
            lower = low
            break
    return Side(estimate, lower, upper)


def compare(
    control: Bins, candidate: Bins, quantile: float, alpha: float, relative: bool
) -> Interval | None:
    """The difference, relative to control when asked for; None without values on both sides."""
    found, against = (bound(bins, quantile, alpha / 2) for bins in (candidate, control))
    if found is None or against is None:
        return None

    def apart(high: float | None, low: float | None) -> float | None:
        if high is None or low is None:
            return None
        if not relative:
            return high - low
        return high / low - 1.0 if low > 0.0 else None

    return Interval(
        rounded(apart(found.estimate, against.estimate)),
        rounded(apart(found.lower, against.upper)),
        rounded(apart(found.upper, against.lower)),
        alpha,
        round_significant(against.estimate),
        round_significant(found.estimate),
        float(control.n),
        float(candidate.n),
        relative,
    )


def _surely_more(n: int, above: float, alpha: float) -> int | None:
    """The fewest of `n` that prove a share of more than `above`; None when not all of them do."""
    threshold = -math.log(alpha)
    low, high = int(above * n), n
    if n == 0 or share.log_evidence(n, n, above) < threshold:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if share.log_evidence(n, middle, above) >= threshold:
            high = middle
        else:
            low = middle
    return high
