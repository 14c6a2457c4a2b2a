"""How many standard errors a mean may be off at *any* time, not at one planned time.

Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas: Time-uniform central limit theory and asymptotic
confidence sequences, arXiv 2103.06476; a normal mixture (Robbins; Howard, Ramdas, McAuliffe,
Sekhon 2021, arXiv 1810.08240) with the estimated variance. One may look after every event.
"""

from __future__ import annotations

import math
from typing import Final

OPTIMAL_N: Final = 500.0
"""Effective observations at which the sequence is narrowest; it is valid at all others."""


def rho_squared(alpha: float, optimal_n: float = OPTIMAL_N) -> float:
    """The mixture's precision that is best at `optimal_n` (arXiv 2103.06476, appendix B.2).

    One-sided sequences at level alpha are tuned as two-sided ones at 2 alpha.
    """
    log = -2.0 * math.log(2.0 * alpha)
    return (log + math.log(log + 1.0)) / optimal_n


def standard_errors(n: float, alpha: float, optimal_n: float = OPTIMAL_N) -> float:
    """Half-width of the one-sided sequence, in standard errors of the mean.

    sqrt(2 (n r + 1) / (n r) ln(1 + sqrt(n r + 1) / (2 alpha))), r = rho^2: the one-sided form of
    arXiv 2103.06476 (proposition B.1).

    Args:
        n: effective observations, positive.
        alpha: probability of ever missing the truth on this side, in (0, 0.5).

    >>> round(standard_errors(500.0, 0.05), 3)
    2.779
    """
    scaled = n * rho_squared(alpha, optimal_n)
    inner = math.log1p(math.sqrt(scaled + 1.0) / (2.0 * alpha))
    return math.sqrt(2.0 * (scaled + 1.0) / scaled * inner)
