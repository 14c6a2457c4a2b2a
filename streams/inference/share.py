"""Share of successes among independent requests, with exact bounds at any time.

For limits on quantiles: "p99 at most 120 ms" is "at most 1 % of requests above 120 ms". The
evidence against shares up to p is a mixture of likelihood ratios over larger shares with a Beta
prior cut off at p: a supermartingale for every true share up to p, so by Ville's inequality it
ever exceeds 1/alpha with probability alpha at most (Robbins 1970; Howard, Ramdas, McAuliffe,
Sekhon 2021, arXiv 1810.08240, beta-binomial mixture). The bound is where it does: a root, found by
Brent's method (1973) in a fifth of the steps that halving takes.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import betaincc, betaln

from tidegate.schemas.canonical import round_significant
from tidegate.streams.inference.interval import Bound

_PRIOR = 0.5
_TOLERANCE = 1e-14
_LEAST_SHARE = 1e-300


def bound(n: int, successes: int, alpha: float) -> Bound:
    """Bounds of the share of successes; 0 and 1 without observations.

    >>> bound(1000, 40, 0.05).lower > 0.02
    True
    """
    estimate = successes / n if n else 0.0
    return Bound(
        round_significant(estimate),
        round_significant(_lower(n, successes, alpha)),
        round_significant(1.0 - _lower(n, n - successes, alpha)),
        alpha,
        float(n),
    )


def log_evidence(n: int, successes: int, share: float) -> float:
    """Logarithm of the evidence that the true share is above `share`, in (0, 1)."""
    failures = n - successes
    a, b = _PRIOR + successes, _PRIOR + failures
    beyond = float(betaincc(a, b, share))
    if beyond <= 0.0:
        return -math.inf
    prior = float(betaln(_PRIOR, _PRIOR)) + math.log(float(betaincc(_PRIOR, _PRIOR, share)))
    posterior = float(betaln(a, b)) + math.log(beyond)
    return posterior - prior - successes * math.log(share) - failures * math.log1p(-share)


def _lower(n: int, successes: int, alpha: float) -> float:
    """The largest share that the evidence excludes, 0 when it excludes none."""
    if successes == 0:
        return 0.0
    threshold = -math.log(alpha)

    def excess(share: float) -> float:
        return log_evidence(n, successes, share) - threshold

    # The evidence falls from infinity at 0 to below 1 at the estimate.
    high = min(successes / n, math.nextafter(1.0, 0.0))
    if excess(high) >= 0.0:
        return high
    low = high / 2
    while excess(low) < 0.0:
        high, low = low, low / 2
        if low < _LEAST_SHARE:
            return 0.0
    return float(brentq(excess, low, high, xtol=_LEAST_SHARE, rtol=_TOLERANCE))
