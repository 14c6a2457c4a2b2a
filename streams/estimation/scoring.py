"""Whose score lay nearer to what came of a request, the shadow's or the answer's, one by one.

What is compared is the difference of squared errors; of a metric that is 0 or 1 that is the
difference of Brier scores (Brier: Verification of forecasts expressed in terms of probability,
Monthly Weather Review 78, 1950). Both sides saw the same request and have the same outcome, so what
makes requests unlike is in neither's favour: a paired comparison (Diebold and Mariano: Comparing
predictive accuracy, Journal of Business and Economic Statistics 13, 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tidegate.schemas.facts import ObservationBatch
from tidegate.streams.estimation.columns import aggregates, clipped
from tidegate.streams.estimation.moments import BatchMoments, grouped
from tidegate.streams.estimation.plan import Measurement


class Scored(NamedTuple):
    """By the context that ran in the shadow: how many requests, and moments of the shadow's squared
    error minus the answer's; None without any."""

    counts: Sequence[int]
    moments: Sequence[BatchMoments | None]


def squared_errors(batch: ObservationBatch, measurement: Measurement) -> Scored:
    """Closed requests of the batch whose outcome, score and shadow's score are known.

    The outcome is what the measurement reads of the request, and it counts by its sample weight.
    A shadow of another experiment or generation than its request's is left out.
    """
    closed, shadows = batch.tables["closed"], batch.tables["closed_shadow"]
    rows, contexts = shadows["row"], shadows["shadow_context"]
    outcomes = clipped(measurement, aggregates(batch, measurement))[rows]
    owners = [(context.experiment, context.generation) for context in batch.contexts]
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    of_context = np.array([numbers[owner] for owner in owners])
    # NaN: nothing came. Infinite: a mean that nobody who counts could have written.
    kept = np.isfinite(outcomes)
    kept &= of_context[closed["context"][rows]] == of_context[contexts]
    rows, contexts, outcomes = rows[kept], contexts[kept], outcomes[kept]
    score, shadow_score = shadows["score"][kept], shadows["shadow_score"][kept]
    # (s - y)^2 - (a - y)^2, so that nothing is lost where scores are near each other and outcomes
    # are large, and equal scores differ by nothing.
    apart = (shadow_score - score) * (shadow_score + score - 2.0 * outcomes)
    weights = closed["weight"][rows].astype(np.float64)
    plain = bool((weights == 1.0).all())
    number = len(batch.contexts)
    counts: list[int] = np.bincount(contexts, minlength=number).tolist()
    return Scored(counts, grouped(contexts, number, apart, None if plain else weights))
