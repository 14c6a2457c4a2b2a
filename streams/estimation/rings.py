"""Rings: a ledger for each, fed with the facts of the requests that belong to it.

Facts carry the attributes that their request was routed by, so a request's ring is found by the
rule that clients follow: the first whose condition holds. Shadow pairs, matched and irregular facts
carry none and are left out: guardrails read exposures and closed requests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas.context import Attributes
from tidegate.schemas.facts import COLUMNS, ObservationBatch, Table, empty_table
from tidegate.streams.estimation.plan import Plan
from tidegate.streams.rules import ring_of

if TYPE_CHECKING:
    from tidegate.streams.estimation.ledger import Ledger

_SETS_KEPT = 8_192
_EMPTY = {kind: empty_table(kind) for kind in COLUMNS}


class RingLedgers:
    """Statistics of one experiment and generation, ring by ring; `make` makes an empty ledger."""

    def __init__(self, plan: Plan, make: Callable[[Plan], Ledger]) -> None:
        self._rings = plan.rings
        self._ring_by_set: dict[Attributes, int] = {}
        within = replace(plan, rings=())
        self.by_name = {ring.name: make(within) for ring in plan.rings}

    def observe(self, batch: ObservationBatch, contexts: Collection[int]) -> None:
        """Takes the facts of the batch that have one of these contexts."""
        if not self._rings:
            return
        ours = np.zeros(len(batch.contexts), dtype=bool)
        ours[list(contexts)] = True
        places = np.array([self._place(pairs) for pairs in batch.attributes])
        of_exposures = _places(batch.tables["exposure"], ours, places)
        of_closed = _places(batch.tables["closed"], ours, places)
        for number, ring in enumerate(self._rings):
            exposed, closed = of_exposures == number, of_closed == number
            if exposed.any() or closed.any():
                self.by_name[ring.name].observe(_part(batch, exposed, closed))

    def go_on(self, before: RingLedgers) -> None:
        """Takes over the statistics under an earlier plan that had the same rings."""
        if before._rings == self._rings:
            for name, ledger in self.by_name.items():
                earlier = before.by_name[name]
                earlier.amend(ledger.plan)
                self.by_name[name] = earlier

    def to_state(self) -> dict[str, Any]:
        """JSON values; neither plan nor rings are part of it."""
        return {name: ledger.to_state() for name, ledger in self.by_name.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Becomes what `to_state` told of, under the same plan."""
        for name, item in state.items():
            ledger = self.by_name[name]
            self.by_name[name] = ledger.from_state(ledger.plan, item)

    def _place(self, pairs: Attributes) -> int:
        found = self._ring_by_set.get(pairs)
        if found is None:
            if len(self._ring_by_set) >= _SETS_KEPT:
                self._ring_by_set.clear()
            number = ring_of(self._rings, dict(pairs))
            found = self._ring_by_set[pairs] = -1 if number is None else number
        return found


def _places(table: Table, ours: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """The ring of each row, -1 for none and for rows of others; shape (rows,)."""
    found: NDArray[Any] = np.where(ours[table["context"]], places[table["attributes"]], -1)
    return found


def _part(batch: ObservationBatch, exposed: NDArray[Any], closed: NDArray[Any]) -> ObservationBatch:
    """The batch with some of its exposures and closed requests, and what hangs on them."""
    tables = batch.tables
    chosen = {
        **_EMPTY,
        "exposure": _rows(tables["exposure"], exposed),
        "measure": _hanging(tables["measure"], exposed),
        "closed": _rows(tables["closed"], closed),
        "closed_metric": _hanging(tables["closed_metric"], closed),
    }
    return replace(batch, tables=chosen)


def _rows(table: Table, mask: NDArray[Any]) -> Table:
    return {name: column[mask] for name, column in table.items()}


def _hanging(table: Table, mask: NDArray[Any]) -> Table:
    """Rows that hang on chosen ones, with the places these have now."""
    rows = table["row"]
    found = dict(_rows(table, mask[rows]))
    found["row"] = (mask.cumsum() - 1)[found["row"]].astype(rows.dtype)
    return found
