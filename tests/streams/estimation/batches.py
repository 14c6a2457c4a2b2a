"""Observation batches for tests: rows as plain tuples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tidegate.schemas.context import Context
from tidegate.schemas.facts import COLUMNS, ObservationBatch, columns_to_table, empty_table

EXPERIMENT = "ranker"
GENERATION = 2


def context(variant: str, version: int = 1, reason: str = "SPLIT", **changes: Any) -> Context:
    """A context of the experiment under test."""
    values = {
        "experiment": EXPERIMENT, "generation": GENERATION, "variant": variant,
        "served_variant": variant, "model": "m", "model_version": "1", "routing_epoch": 0,
        "routing_version": version, "reason": reason,
    }  # fmt: skip
    return Context(**{**values, **changes})


DEFAULTS: Mapping[str, float] = {
    "propensity": 0.5, "weight": 1.0, "score": np.nan, "latency": np.nan, "agree": 2, "count": 1,
    "source": 4_294_967_295, "metric": 0, "shadow_score": np.nan, "shadow_latency": np.nan,
}  # fmt: skip


def batch(
    contexts: Sequence[Context],
    names: Sequence[str] = (),
    **tables: Mapping[str, ArrayLike],
) -> ObservationBatch:
    """A batch with the given columns; columns that are not given hold their default, or 0."""
    filled = {}
    for kind, given in tables.items():
        rows = np.size(next(iter(given.values())))
        filled[kind] = columns_to_table(
            kind,
            {
                name: given[name] if name in given else np.full(rows, DEFAULTS.get(name, 0))
                for name, _ in COLUMNS[kind]
            },
        )
    return ObservationBatch(
        0,
        0,
        0,
        "engine",
        1_000,
        (0, 0, 0),
        tuple(contexts),
        ((),),
        tuple(names),
        {kind: filled.get(kind) or empty_table(kind) for kind in COLUMNS},
    )
