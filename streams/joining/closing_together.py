"""Requests that close at the same time, column by column: what it comes to is what the loop over
single requests gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.streams.joining import attribution
from tidegate.streams.joining.batches import (
    CLOSED_SHADOW_BYTES,
    ROW_BYTES,
    SUMMARY_BYTES,
    Batches,
    OpenBatch,
)
from tidegate.streams.joining.layout import (
    ACTIVATION_ENTRY,
    CLOSED_SHADOW_ROWS,
    ENTRIES,
    ENTRY_BYTES,
    HEAD_BYTES,
    METRIC_ROW,
    METRIC_ROWS,
    REQUEST_ROWS,
    SHADOW_ENTRY,
)
from tidegate.streams.joining.state import JoinState

Array = NDArray[Any]


_NO_SHADOWS: Array = np.empty(0, CLOSED_SHADOW_ROWS)


@dataclass(slots=True)
class _Share:
    """What of the closing requests goes into one batch: a mask over them, and its bytes."""

    batch: OpenBatch
    mask: Array
    cost: int


@dataclass(slots=True)
class Closing:
    """Rows of closing requests in order, not yet in their batches.

    `summaries` are metric rows and `shadows` rows of closed shadows, both ascending by `row`,
    which here is the number of the request.
    """

    heads: list[bytes]
    summaries: Array
    shadows: Array
    shares: Sequence[_Share]

    def fits(self) -> bool:
        """Whether no batch would have to be cut on the way."""
        return all(share.cost < share.batch.room for share in self.shares)

    def put(self) -> None:
        """Put the rows into their batches."""
        for share in self.shares:
            rows = share.batch.rows
            places = share.mask.cumsum() + (len(rows.closed) - 1)
            for hanging, goal in (
                (self.summaries, rows.summaries),
                (self.shadows, rows.closed_shadows),
            ):
                found = hanging[share.mask[hanging["row"]]]
                if len(found):
                    found["row"] = places[found["row"]]
                    goal.append(found.tobytes())
            rows.closed += compress(self.heads, share.mask.tolist())
            share.batch.room -= share.cost


def closing_of(state: JoinState, keys: list[bytes], values: list[bytes]) -> Closing | None:
    """The rows of requests that close; None when some have features or are deferred."""
    heads = [key + stored[:HEAD_BYTES] for key, stored in zip(keys, values, strict=True)]
    rows = np.frombuffer(b"".join(heads), REQUEST_ROWS)
    tails, interned = rows["tail"], state.interned
    used = np.flatnonzero(np.bincount(tails)).tolist()
    kinds = [interned.tails.items[tail] for tail in used]
    if rows["features"].any() or any(kind is None or kind.deferred for kind in kinds):
        return None
    summaries, shadows = _hanging(rows, values)
    costs = _looked_up(interned.tails.costs, tails) + ROW_BYTES
    costs += _looked_up(interned.attributes.costs, rows["attributes"])
    if len(summaries):
        each = _looked_up(interned.names.costs, summaries["metric"]) + SUMMARY_BYTES
        costs += np.bincount(summaries["row"], each, len(rows)).astype(np.int64)
    if len(shadows):
        each = _looked_up(interned.shadow_tails.costs, shadows["shadow_tail"]) + CLOSED_SHADOW_BYTES
        costs += np.bincount(shadows["row"], each, len(rows)).astype(np.int64)
    return Closing(heads, summaries, shadows, _shares(state.batches, used, tails, costs))


def _hanging(rows: Array, values: list[bytes]) -> tuple[Array, Array]:
    """What hangs on the requests: metric rows, and rows of closed shadows."""
    counts = [(len(stored) - HEAD_BYTES) // ENTRY_BYTES for stored in values]
    entries = np.frombuffer(b"".join([stored[HEAD_BYTES:] for stored in values]), ENTRIES)
    owners = np.repeat(np.arange(len(values)), counts)
    is_outcome = entries["metric"] < ACTIVATION_ENTRY
    shadows = _NO_SHADOWS
    if not is_outcome.all():
        shadows = _shadows(rows, owners, entries)
        owners, entries = owners[is_outcome], entries[is_outcome]
    return _summaries(values, owners, entries), shadows


def _shadows(rows: Array, owners: Array, entries: Array) -> Array:
    """As `attribution.scored_shadows`."""
    is_scored = (entries["metric"] == SHADOW_ENTRY) & ~np.isnan(entries["value"])
    is_scored &= ~np.isnan(rows["score"])[owners]
    owners, entries = owners[is_scored], entries[is_scored]
    found = np.empty(len(owners), CLOSED_SHADOW_ROWS)
    found["row"], found["shadow_tail"] = owners, entries["id"]
    found["shadow_score"] = entries["value"]
    return found


def _summaries(values: list[bytes], owners: Array, entries: Array) -> Array:
    """A metric row per request and metric that has outcomes, in the order of the requests."""
    again = owners[1:] == owners[:-1]
    several: list[int] = []
    if again.any():
        several = sorted(set(owners[1:][again].tolist()))
        alone = ~np.isin(owners, several)
        owners, entries = owners[alone], entries[alone]
    singles = np.empty(len(owners), METRIC_ROWS)
    singles["row"], singles["metric"], singles["count"] = owners, entries["metric"], 1
    for name in ("first", "last", "sum", "min", "max"):
        singles[name] = entries["value"]
    if not several:
        return singles
    packed = b"".join(
        METRIC_ROW.pack(owner, *summary)
        for owner in several
        for summary in attribution.summarise(values[owner][HEAD_BYTES:])
    )
    whole = np.concatenate([singles, np.frombuffer(packed, METRIC_ROWS)])
    return whole[whole["row"].argsort(kind="stable")]


def _looked_up(costs: Sequence[int], numbers: Array) -> Array:
    """The cost of each number; few different ones among many."""
    used = np.flatnonzero(np.bincount(numbers))
    table = np.empty(int(used[-1]) + 1, dtype=np.int64)
    table[used] = [costs[number] for number in used.tolist()]
    found: Array = table[numbers]
    return found


def _shares(batches: Batches, used: Sequence[int], tails: Array, costs: Array) -> list[_Share]:
    places = np.empty(used[-1] + 1, dtype=np.int64)
    goals: dict[int, OpenBatch] = {}
    for tail in used:
        batch = batches.of(tail)
        places[tail] = batch.partition
        goals[batch.partition] = batch
    partitions = places[tails]
    costs = np.maximum(costs, batches.least_cost)
    shares = []
    for partition, batch in goals.items():
        mask = partitions == partition
        shares.append(_Share(batch, mask, int(costs[mask].sum())))
    return shares
