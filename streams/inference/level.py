"""One variant's mean alone, as a confidence sequence: for limits that name a value.

Waudby-Smith et al., arXiv 2103.06476 (2021).
"""

from __future__ import annotations

import math

from tidegate.schemas.canonical import round_significant
from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.strata import mean_variance
from tidegate.streams.inference.confidence_sequence import standard_errors
from tidegate.streams.inference.interval import Bound


def bound(moments: Moments, alpha: float, binary: bool) -> Bound | None:
    """Bounds of a mean; None while nothing varies."""
    if moments.n <= 0.0:
        return None
    variance = mean_variance([moments], [1.0], binary, moments.variance)
    if variance <= 0.0:
        return None
    radius = standard_errors(moments.n, alpha) * math.sqrt(variance)
    return Bound(
        round_significant(moments.mean),
        round_significant(moments.mean - radius),
        round_significant(moments.mean + radius),
        alpha,
        round_significant(moments.n),
    )
