"""Where every fact of a batch goes, and what became of each variant's records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tidegate.schemas.context import Context
from tidegate.schemas.facts import ObservationBatch
from tidegate.streams.deciding.experiment import ExperimentState
from tidegate.streams.estimation import Summary
from tidegate.streams.estimation.tally import conservation


def count_facts(
    summary: Summary, known: Mapping[str, ExperimentState], counters: Counter[str]
) -> None:
    """Adds a batch's facts about requests to `fact.…` counters by what they belong to.

    `fact.input` is the sum of the others.
    """
    batch, per_context = summary.batch, summary.facts()
    nowhere = batch.count("irregular") - sum(map(sum, summary.irregular))
    counters["fact.input"] += sum(per_context) + nowhere
    counters["fact.without_prediction"] += nowhere
    for context, number in zip(batch.contexts, per_context, strict=True):
        counters[_fate(context, known.get(context.experiment))] += number


def _fate(context: Context, state: ExperimentState | None) -> str:
    if state is None:
        return "fact.unknown_experiment"
    if context.generation != state.generation:
        return "fact.other_generation"
    if context.variant not in state.spec.variants:
        return "fact.unknown_variant"
    return "fact.counted"


def learn(
    batch: ObservationBatch, experiments: Mapping[str, ExperimentState], counters: Counter[str]
) -> list[ExperimentState]:
    """Takes a batch into the ledgers of the experiments it is about, which are returned by name."""
    names = sorted({context.experiment for context in batch.contexts})
    touched = [experiments[name] for name in names if name in experiments]
    summary = Summary(batch)
    for state in touched:
        state.ledger.observe(batch, summary)
        state.is_view_due = True
    count_facts(summary, experiments, counters)
    return touched


def variant_counters(experiments: Mapping[str, ExperimentState]) -> Iterator[tuple[str, int]]:
    """(`experiment/generation/variant/stream.class`, number) of the running generations."""
    for name, state in sorted(experiments.items()):
        ledger = state.ledger
        for variant in sorted(ledger.tallies):
            found = conservation(ledger.tallies[variant], ledger.shadows[variant])
            for stream, classes in found.items():
                for kind, number in classes.items():
                    yield f"{name}/{state.generation}/{variant}/{stream}.{kind}", number
