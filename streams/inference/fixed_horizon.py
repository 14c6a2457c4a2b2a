"""Difference of two means tested once, at a time fixed beforehand: Welch's test over strata.

Not valid when one looks more than once: the sequences beside it are. When the one look is due is
told by information, not by a count of requests, so that unequal shares, several strata and a
spread that nobody knew beforehand need no formula of their own (Mehta and Tsiatis 2001): with
delta the smallest effect not to be overlooked, the test has its power once the standard error of
the difference has come down to delta / (z(1 - alpha/2) + z(power)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import special

from tidegate.schemas.canonical import round_significant
from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import Pair, mean_variance, within_variance
from tidegate.streams.inference.difference import weights_of


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus control: `p_value` two-sided, `lower` and `upper` at 1 - alpha.

    `n_control` and `n_candidate` are the observations compared, `control` and `candidate` their
    means; all rounded to 9 digits.
    """

    estimate: float
    standard_error: float
    lower: float
    upper: float
    p_value: float
    control: float
    candidate: float
    n_control: float
    n_candidate: float


def welch(pairs: Sequence[Pair], alpha: float) -> Difference | None:
    """Welch's test (1947) of candidate against control, strata by Mantel-Haenszel weights.

    Degrees of freedom by Welch and Satterthwaite from the two sides' whole numbers of
    observations. None while nothing can be said: a side is empty, or nothing varies.
    """
    weights = weights_of(pairs)
    n = math.fsum(weights)
    if n <= 0.0:
        return None
    shares = [weight / n for weight in weights]
    control = _side([pair.control for pair in pairs], shares)
    candidate = _side([pair.candidate for pair in pairs], shares)
    variance = control.variance + candidate.variance
    if variance <= 0.0 or min(control.n, candidate.n) < 2.0:
        return None
    freedom = variance**2 / (
        control.variance**2 / (control.n - 1.0) + candidate.variance**2 / (candidate.n - 1.0)
    )
    error = math.sqrt(variance)
    estimate = candidate.mean - control.mean
    radius = error * float(special.stdtrit(freedom, 1.0 - alpha / 2.0))
    rounded = map(
        round_significant,
        (
            estimate,
            error,
            estimate - radius,
            estimate + radius,
            2.0 * float(special.stdtr(freedom, -abs(estimate) / error)),
            control.mean,
            candidate.mean,
            control.n,
            candidate.n,
        ),
    )
    return Difference(*rounded)


def information_share(found: Difference, delta: float, alpha: float, power: float) -> float:
    """How much of the information is in that the test needs: 1 when it is due.

    `delta` is the absolute effect, above 0; `alpha` two-sided. Information is one over the
    squared standard error, and grows in proportion to the requests.
    """
    quantiles = float(special.ndtri(1.0 - alpha / 2.0)) + float(special.ndtri(power))
    return (delta / quantiles / found.standard_error) ** 2


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values of several candidates against the same control (Holm 1979).

    The chance of any false finding among them stays below alpha, whatever their dependence.

    >>> holm({"b": 0.01, "c": 0.04, "d": 0.03})
    {'b': 0.03, 'd': 0.06, 'c': 0.06}
    """
    ordered = sorted(p_values, key=lambda name: (p_values[name], name))
    adjusted: dict[str, float] = {}
    highest = 0.0
    for place, name in enumerate(ordered):
        highest = max(highest, (len(ordered) - place) * p_values[name])
        adjusted[name] = round_significant(min(1.0, highest))
    return adjusted


@dataclass(frozen=True, slots=True)
class _Side:
    n: float
    mean: float
    variance: float


def _side(rows: Sequence[Moments], shares: Sequence[float]) -> _Side:
    if len(rows) == 1:  # one stratum needs nothing borrowed
        return _Side(rows[0].n, rows[0].mean, rows[0].variance / rows[0].n)
    return _Side(
        math.fsum(row.n for row in rows),
        math.fsum(share * row.mean for share, row in zip(shares, rows, strict=True)),
        mean_variance(rows, shares, binary=False, pooled=within_variance(rows)),
    )
