"""Answers of a request and its shadow: labels first, then scores, else nothing is said."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from tests.streams.estimation.batches import batch, context
from tidegate.schemas.facts import AGREE_NO, AGREE_UNKNOWN, AGREE_YES
from tidegate.streams.estimation.agreement import agreements


@pytest.mark.parametrize(
    ("labels", "score", "shadow_score", "tolerance", "expected"),
    [
        (AGREE_YES, 0.1, 0.9, 0.0, AGREE_YES),
        (AGREE_NO, 0.5, 0.5, 0.0, AGREE_NO),
        (AGREE_UNKNOWN, 0.5, 0.5, 0.0, AGREE_YES),
        (AGREE_UNKNOWN, 0.5, 0.51, 0.0, AGREE_NO),
        (AGREE_UNKNOWN, 0.5, 0.51, 0.02, AGREE_YES),
        (AGREE_UNKNOWN, 0.51, 0.5, 0.02, AGREE_YES),
        (AGREE_UNKNOWN, 0.5, 0.75, 0.25, AGREE_YES),
        (AGREE_UNKNOWN, nan, 0.5, inf, AGREE_UNKNOWN),
        (AGREE_UNKNOWN, 0.5, nan, 0.0, AGREE_UNKNOWN),
        (AGREE_UNKNOWN, nan, nan, 0.0, AGREE_UNKNOWN),
    ],
)
def test_labels_decide_then_scores(
    labels: int, score: float, shadow_score: float, tolerance: float, expected: int
) -> None:
    """Up to the tolerance and including it; an absent answer agrees with nothing."""
    found = batch(
        [context("a"), context("b")],
        shadow={"agree": [labels], "score": [score], "shadow_score": [shadow_score]},
    )
    with np.errstate(invalid="raise"):
        assert agreements(found.tables["shadow"], tolerance).tolist() == [expected]
