"""Difference of two means over strata, absolute or relative, as a confidence sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.schemas.canonical import round_significant
from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import Pair, mean_variance, within_variance
from tidegate.streams.inference.confidence_sequence import standard_errors
from tidegate.streams.inference.interval import Interval, rounded


@dataclass(frozen=True, slots=True)
class _Side:
    n: float
    mean: float
    variance: float


def point_estimate(pairs: Sequence[Pair], relative: bool) -> float | None:
    """What `interval` encloses, for a fraction of the work; None when it says nothing yet."""
    weights = weights_of(pairs)
    n = math.fsum(weights)
    if n <= 0.0:
        return None
    control, candidate = (
        math.fsum(weight * side.mean for weight, side in zip(weights, rows, strict=True)) / n
        for rows in ([pair.control for pair in pairs], [pair.candidate for pair in pairs])
    )
    if not relative:
        return candidate - control
    return candidate / control - 1.0 if control > 0.0 else None


def interval(pairs: Sequence[Pair], alpha: float, relative: bool, binary: bool) -> Interval | None:
    """Candidate against concurrent control; None when nothing can be said yet.

    Strata weigh n1 n0 / (n1 + n0) (Cochran 1954; Mantel and Haenszel 1959): best where effects are
    alike, and a stratum in which one side is nearly empty weighs nearly nothing. That weight is
    also the effective number of observations, of which the sequence's width is a function.
    """
    weights = weights_of(pairs)
    n = math.fsum(weights)
    if n <= 0.0:
        return None
    shares = [weight / n for weight in weights]
    rows = [pair.control for pair in pairs], [pair.candidate for pair in pairs]
    spreads = [within_variance(side) for side in rows]
    # A side on which nothing varies yet is not certain: it borrows the other side's variance.
    borrowed = within_variance([*rows[0], *rows[1]])
    control, candidate = (
        _side(side, shares, binary, spread or borrowed, spread > 0.0)
        for side, spread in zip(rows, spreads, strict=True)
    )
    if control.variance + candidate.variance <= 0.0:
        return None
    errors = standard_errors(n, alpha)
    find = _relative if relative else _absolute
    estimate, lower, upper = find(control, candidate, errors)
    return Interval(
        rounded(estimate),
        rounded(lower),
        rounded(upper),
        alpha,
        round_significant(control.mean),
        round_significant(candidate.mean),
        round_significant(control.n),
        round_significant(candidate.n),
        relative,
    )


def weights_of(pairs: Sequence[Pair]) -> list[float]:
    """Mantel-Haenszel weight of each stratum: its effective number of observations."""
    return [
        pair.control.n * pair.candidate.n / (pair.control.n + pair.candidate.n) for pair in pairs
    ]


def _side(
    rows: Sequence[Moments], shares: Sequence[float], binary: bool, pooled: float, varies: bool
) -> _Side:
    if not varies and not binary:
        rows = [Moments(row.n, row.mean, pooled) for row in rows]
    return _Side(
        math.fsum(row.n for row in rows),
        math.fsum(share * row.mean for row, share in zip(rows, shares, strict=True)),
        mean_variance(rows, shares, binary, pooled),
    )


def _absolute(
    control: _Side, candidate: _Side, errors: float
) -> tuple[float | None, float | None, float | None]:
    estimate = candidate.mean - control.mean
    radius = errors * math.sqrt(control.variance + candidate.variance)
    return estimate, estimate - radius, estimate + radius


def _relative(
    control: _Side, candidate: _Side, errors: float
) -> tuple[float | None, float | None, float | None]:
    """Candidate / control - 1 by Fieller's theorem (1954), for a control above 0.

    The ratios r that the data allow solve (m1 - r m0)^2 <= k^2 (v1 + r^2 v0). While control is
    not surely above 0 they have no finite bounds, and nothing is said.
    """
    if control.mean <= 0.0:
        return None, None, None
    estimate = candidate.mean / control.mean - 1.0
    square = errors * errors
    a = control.mean**2 - square * control.variance
    b = control.mean * candidate.mean
    c = candidate.mean**2 - square * candidate.variance
    if a <= 0.0:
        return estimate, None, None
    root = math.sqrt(max(0.0, b * b - a * c))
    return estimate, (b - root) / a - 1.0, (b + root) / a - 1.0
