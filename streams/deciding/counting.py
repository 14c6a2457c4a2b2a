"""Where every fact of a batch goes, and what became of each variant's records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from tidegate.schemas.context import Context
from tidegate.schemas.facts import COLUMNS, NONE, ObservationBatch
from tidegate.streams.deciding.experiment import ExperimentState
from tidegate.streams.estimation.tally import conservation

_WITH_CONTEXT = tuple(kind for kind, columns in COLUMNS.items() if ("context", "u4") in columns)


def count_facts(
    batch: ObservationBatch, known: Mapping[str, ExperimentState], counters: Counter[str]
) -> None:
    """Adds the batch's facts about requests to `fact.…` counters by what they belong to.

    `fact.input` is the sum of the others.
    """
    per_context = np.zeros(len(batch.contexts), dtype=np.int64)
    for kind in _WITH_CONTEXT:
        # What ran in the shadow has a context of its own; the pair counts where it is learnt.
        column = batch.tables[kind]["shadow_context" if kind == "shadow" else "context"]
        named = column[column != NONE] if kind == "irregular" else column
        counters["fact.input"] += len(column)
        counters["fact.without_prediction"] += len(column) - len(named)
        per_context += np.bincount(named, minlength=len(batch.contexts))
    for context, number in zip(batch.contexts, per_context.tolist(), strict=True):
        counters[_fate(context, known.get(context.experiment))] += number


def _fate(context: Context, state: ExperimentState | None) -> str:
    if state is None:
        return "fact.unknown_experiment"
    if context.generation != state.generation:
        return "fact.other_generation"
    if context.variant not in state.spec.variants:
        return "fact.unknown_variant"
    return "fact.counted"


def variant_counters(experiments: Mapping[str, ExperimentState]) -> Iterator[tuple[str, int]]:
    """(`experiment/generation/variant/stream.class`, number) of the running generations."""
    for name, state in sorted(experiments.items()):
        ledger = state.ledger
        for variant in sorted(ledger.tallies):
            found = conservation(ledger.tallies[variant], ledger.shadows[variant])
            for stream, classes in found.items():
                for kind, number in classes.items():
                    yield f"{name}/{state.generation}/{variant}/{stream}.{kind}", number
