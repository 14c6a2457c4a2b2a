"""What a batch says of each of its contexts: summed once, however many experiments it is about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tidegate.schemas.facts import CLASSES, NONE, STATUSES, STREAMS, ObservationBatch
from tidegate.streams.estimation.agreement import agreements
from tidegate.streams.estimation.columns import Values, values_of
from tidegate.streams.estimation.moments import BatchMoments, grouped
from tidegate.streams.estimation.plan import Measurement
from tidegate.streams.estimation.scoring import Scored, squared_errors

_CODES = len(STREAMS) * len(CLASSES)


class Summary:
    """Counts and moments of a batch by context, each computed when it is first asked for.

    Lists are by number of context in `batch.contexts`.
    """

    def __init__(self, batch: ObservationBatch) -> None:
        self.batch = batch
        self._number = len(batch.contexts)
        self._values: dict[tuple[Any, ...], Values] = {}
        self._scored: dict[Measurement, Scored] = {}
        self._early: dict[int, Sequence[BatchMoments | None]] = {}

    @cached_property
    def statuses(self) -> list[list[int]]:
        """Exposures by code of status."""
        table = self.batch.tables["exposure"]
        return self._by_code(table["context"], table["status"], len(STATUSES))

    @cached_property
    def inverse_propensity(self) -> list[float]:
        """Sum of 1 / propensity over exposures."""
        table = self.batch.tables["exposure"]
        found: list[float] = np.bincount(
            table["context"], 1.0 / table["propensity"], self._number
        ).tolist()
        return found

    @cached_property
    def closed(self) -> list[int]:
        """Closed requests."""
        return self._count("closed")

    @cached_property
    def matched(self) -> list[int]:
        """Matched outcomes."""
        return self._count("matched")

    @cached_property
    def shadows(self) -> list[int]:
        """Shadow pairs, by the context that ran in the shadow."""
        return self._count("shadow", "shadow_context")

    @cached_property
    def shadow_failures(self) -> list[int]:
        """Shadow pairs whose shadow is not OK, by the context that ran in the shadow."""
        table = self.batch.tables["shadow"]
        failed = table["shadow_context"][table["shadow_status"] != 0]
        found: list[int] = np.bincount(failed, minlength=self._number).tolist()
        return found

    def shifts(self, column: str) -> Sequence[BatchMoments | None]:
        """Moments of shadow minus answer of `score` or `latency`, by the context in the shadow."""
        table = self.batch.tables["shadow"]
        apart = table[f"shadow_{column}"] - table[column]
        known = ~np.isnan(apart)
        return grouped(table["shadow_context"][known], self._number, apart[known], None)

    def agreements(self, score_tolerance: float) -> list[list[int]]:
        """Shadow pairs by code of agreement, by the context that ran in the shadow."""
        table = self.batch.tables["shadow"]
        return self._by_code(table["shadow_context"], agreements(table, score_tolerance), 3)

    def squared_errors(self, measurement: Measurement) -> Scored:
        """How far scores lay from outcomes, shadow beside answer, by the context in the shadow."""
        found = self._scored.get(measurement)
        if found is None:
            found = self._scored[measurement] = squared_errors(self.batch, measurement)
        return found

    @cached_property
    def irregular(self) -> list[list[int]]:
        """Irregular facts that have a context, by stream * number of classes + class."""
        table = self.batch.tables["irregular"]
        known = table["context"] != NONE
        codes = table["stream"][known].astype(np.int64) * len(CLASSES)
        codes += table["class"][known]
        return self._by_code(table["context"][known], codes, _CODES)

    def early(self, metric: int) -> Sequence[BatchMoments | None]:
        """Moments of matched values of a metric, by its number among the batch's names."""
        found = self._early.get(metric)
        if found is None:
            table = self.batch.tables["matched"]
            chosen = table["metric"] == metric
            found = self._early[metric] = grouped(
                table["context"][chosen], self._number, table["value"][chosen], None
            )
        return found

    def values(self, measurement: Measurement, score_tolerance: float = 0.0) -> Values:
        """What the measurement reads; measurements that read the same share it."""
        reads: tuple[Any, ...]
        if measurement.source == "outcome":
            reads = (measurement.name, measurement.aggregate, measurement.default)
        else:
            reads = (measurement.source, measurement.measure, score_tolerance)
        key = (
            measurement.source, *reads, measurement.statuses, measurement.low, measurement.high
        )  # fmt: skip
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = values_of(
                self.batch, measurement, score_tolerance
            )
        return found

    def facts(self) -> Sequence[int]:
        """Number of facts: exposures, shadow pairs, matched, closed and irregular ones.

        What ran in the shadow has a context of its own; the pair counts where it is learnt.
        """
        return [
            sum(statuses) + sum(irregular) + shadows + matched + closed
            for statuses, irregular, shadows, matched, closed in zip(
                self.statuses, self.irregular, self.shadows, self.matched, self.closed,
                strict=True,
            )
        ]  # fmt: skip

    def _count(self, kind: str, column: str = "context") -> list[int]:
        found: list[int] = np.bincount(
            self.batch.tables[kind][column], minlength=self._number
        ).tolist()
        return found

    def _by_code(self, contexts: Any, codes: Any, width: int) -> list[list[int]]:
        if not len(contexts):
            return [[0] * width] * self._number
        flat = contexts.astype(np.int64) * width + codes
        counts = np.bincount(flat, minlength=self._number * width)
        found: list[list[int]] = counts.reshape(self._number, width).tolist()
        return found
