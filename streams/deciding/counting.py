"""Where every fact of a batch goes: counted, or why not; the counters sum to the facts read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from tidegate.schemas.context import Context
from tidegate.schemas.facts import COLUMNS, NONE, ObservationBatch
from tidegate.streams.deciding.experiment import ExperimentState

_WITH_CONTEXT = tuple(kind for kind, columns in COLUMNS.items() if ("context", "u4") in columns)


def count_facts(
    batch: ObservationBatch, known: Mapping[str, ExperimentState], counters: Counter[str]
) -> None:
    """Adds the batch's facts about requests to `facts_…` counters by what they belong to."""
    per_context = np.zeros(len(batch.contexts), dtype=np.int64)
    for kind in _WITH_CONTEXT:
        # What ran in the shadow has a context of its own; the pair counts where it is learnt.
        column = batch.tables[kind]["shadow_context" if kind == "shadow" else "context"]
        named = column[column != NONE] if kind == "irregular" else column
        counters["facts_without_prediction"] += len(column) - len(named)
        per_context += np.bincount(named, minlength=len(batch.contexts))
    for context, number in zip(batch.contexts, per_context.tolist(), strict=True):
        counters[_fate(context, known.get(context.experiment))] += number


def _fate(context: Context, state: ExperimentState | None) -> str:
    if state is None:
        return "facts_of_unknown_experiments"
    if context.generation != state.generation:
        return "facts_of_other_generations"
    if context.variant not in state.spec.variants:
        return "facts_of_unknown_variants"
    return "facts_counted"
