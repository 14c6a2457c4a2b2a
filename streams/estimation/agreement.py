"""Whether a request and its shadow gave the same answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas.facts import AGREE_NO, AGREE_UNKNOWN, AGREE_YES, Table


def agreements(shadow: Table, score_tolerance: float) -> NDArray[Any]:
    """Code per pair of a `shadow` table: labels decide; where one is absent, scores do.

    Args:
        shadow: columns of length n, `score` and `shadow_score` NaN where absent.
        score_tolerance: how far apart equal answers may be, in units of the score.

    Returns:
        `AGREE_NO`, `AGREE_YES`, or `AGREE_UNKNOWN` where neither can be compared; shape (n,).
    """
    apart = np.abs(shadow["score"] - shadow["shadow_score"])
    by_score = np.where(apart <= score_tolerance, AGREE_YES, AGREE_NO)
    undecided = (shadow["agree"] == AGREE_UNKNOWN) & ~np.isnan(apart)
    return np.where(undecided, by_score, shadow["agree"])
