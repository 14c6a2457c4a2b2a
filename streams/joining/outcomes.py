"""An outcome is credited to the prediction that was recorded, or told apart as irregular."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.schemas.decoding.columns import OutcomeColumns, OutcomeTail
from tidegate.schemas.decoding.outcomes import OutcomeDecoder
from tidegate.schemas.facts import NONE
from tidegate.streams.joining import attribution
from tidegate.streams.joining.batches import ROW_BYTES
from tidegate.streams.joining.layout import (
    ACTIVATION_ENTRY,
    CLOSED_BYTES,
    ENTRY,
    ENTRY_BYTES,
    ENTRY_NAME,
    HEAD,
    HEAD_BYTES,
    IDENTITY,
    MATCHED_ROW,
    WAITING_OUTCOME,
)
from tidegate.streams.joining.refusal import refuse
from tidegate.streams.joining.settings import OUTCOMES_MAX
from tidegate.streams.joining.state import (
    CONFLICT,
    DUPLICATE,
    EXPIRED,
    LATE,
    OUTCOME,
    JoinState,
)
from tidegate.streams.merge import Run

Named = tuple[int, int, int]
"""Numbers of metric (or `ACTIVATION_ENTRY`) and source (or `NONE`), and what they cost."""


class Outcomes:
    """Joins the records of `outcomes`."""

    def __init__(self, state: JoinState) -> None:
        self._state = state
        self._decoder = OutcomeDecoder(state.bindings)

    def records(self, run: Run) -> None:
        """Take a run of outcomes."""
        state = self._state
        columns = self._decoder.decode(run.values, run.start, run.stop)
        refuse(state, run, columns, columns.occurred_at)
        state.requests.recall(columns.keys)
        self._credit(run, columns, self._names(columns.tails))
        state.batches.covers[OUTCOME] = run.first_offset + run.stop - run.start
        state.changelog.end_run()

    def _credit(self, run: Run, columns: OutcomeColumns, names: list[Named]) -> None:
        """The inner loop: what happens to almost every record stands here, the rest is called."""
        state = self._state
        batches, open_requests, items = (
            state.batches,
            state.requests.open,
            state.interned.tails.items,
        )
        tail_costs, early_ms = state.interned.tails.costs, state.settings.early_tolerance_ms
        least_cost, by_tail = batches.least_cost, batches.by_tail
        covers, base = batches.covers, run.first_offset - run.start + 1
        entries, untils_ms = state.changelog.entries, state.changelog.untils_ms
        now_ms = state.log_time_ms
        counted = 0
        for index, key, outcome_id, value, occurred_ms, named in zip(
            columns.index, columns.keys, columns.outcome_ids, columns.values,
            columns.occurred_at, names, strict=True,
        ):  # fmt: skip
            stored = open_requests.get(key)
            if stored is None:
                covers[OUTCOME] = base + index
                self._without_request(key, named, outcome_id, value, occurred_ms)
                continue
            served_ms, _, tail = IDENTITY.unpack_from(stored)
            metric, source, cost = named
            after_ms = occurred_ms - served_ms
            shared = items[tail]
            start = HEAD_BYTES + 8 * stored[HEAD_BYTES - 1]
            kept = len(stored) - start
            if (
                (kept
                and (
                    kept >= OUTCOMES_MAX * ENTRY_BYTES
                    # Found elsewhere than where an entry begins, it is looked at again.
                    or stored.find(ENTRY_NAME.pack(metric, outcome_id), start) >= 0
                ))
                or metric >= ACTIVATION_ENTRY
                or shared is None
                or not attribution.in_window(after_ms, shared.reward_wait_ms, early_ms)
            ):
                covers[OUTCOME] = base + index
                self._attribute(key, stored, named, outcome_id, value, occurred_ms)
                continue
            entry = ENTRY.pack(metric, outcome_id, value, after_ms + early_ms)
            open_requests[key] = stored + entry
            entries.append(key + entry)
            begin_ms = served_ms if served_ms > now_ms else now_ms
            untils_ms.append(begin_ms + shared.reward_wait_ms)
            counted += 1
            batch = by_tail.get(tail) or batches.of(tail)
            batch.rows.matched.append(
                MATCHED_ROW.pack(key, tail, metric, value, occurred_ms, source)
            )
            cost += tail_costs[tail] + ROW_BYTES
            batch.room -= cost if cost > least_cost else least_cost
            if batch.room <= 0:
                covers[OUTCOME] = base + index
                batches.cut(batch)
        state.counts["outcome.counted"] += counted

    def after_waiting(self, key: bytes, item: bytes) -> None:
        """Join an outcome whose prediction has just come."""
        _, _, metric, source, outcome_id, value, occurred_ms = WAITING_OUTCOME.unpack(item)
        named = self._touch(metric, source)
        stored = self._state.requests.open[key]
        self._attribute(key, stored, named, outcome_id, value, occurred_ms)

    def _attribute(
        self, key: bytes, stored: bytes, named: Named, outcome_id: int, value: float,
        occurred_ms: int,
    ) -> None:  # fmt: skip
        """The prediction is known and its deadline has not passed."""
        state = self._state
        metric, source, cost = named
        served_ms, _, tail = IDENTITY.unpack_from(stored)
        if metric == NONE:
            self._irregular(EXPIRED, key, tail, metric, value)
            return
        start = HEAD_BYTES + 8 * stored[HEAD_BYTES - 1]
        if len(stored) > start:
            found = attribution.find_entry(stored, start, ENTRY_NAME.pack(metric, outcome_id))
            if found >= 0:
                self._repeated(key, tail, metric, value, ENTRY.unpack_from(stored, found)[2])
                return
        shared = state.interned.tails.get(tail)
        early_ms = state.settings.early_tolerance_ms
        after_ms = occurred_ms - served_ms
        if not attribution.in_window(after_ms, shared.reward_wait_ms, early_ms):
            self._irregular(LATE, key, tail, metric, value)
            return
        if len(stored) - start >= OUTCOMES_MAX * ENTRY_BYTES:
            self._irregular(EXPIRED, key, tail, metric, value)
            return
        entry = ENTRY.pack(metric, outcome_id, value, after_ms + early_ms)
        state.requests.open[key] = stored + entry
        state.joined(key, entry, served_ms, shared.reward_wait_ms)
        state.counts["outcome.counted"] += 1
        batches = state.batches
        if metric != ACTIVATION_ENTRY:
            batch = batches.by_tail.get(tail) or batches.of(tail)
            batch.rows.matched.append(
                MATCHED_ROW.pack(key, tail, metric, value, occurred_ms, source)
            )
            batches.take(batch, tail, cost)
        elif shared.deferred and not attribution.is_activated(stored[start:]):
            _, _, _, held, *_, layout, _ = HEAD.unpack_from(stored)
            batches.exposure(key, stored[:start], tail, held, layout)

    def _after_close(self, key: bytes, metric: int, outcome_id: int, value: float) -> None:
        """The deadline has passed, and the request is still remembered."""
        stored = self._state.requests.closed[key]
        tail = IDENTITY.unpack_from(stored)[2]
        name = ENTRY_NAME.pack(metric, outcome_id)
        found = attribution.find_entry(stored, CLOSED_BYTES, name) if metric != NONE else -1
        if found >= 0:
            self._repeated(key, tail, metric, value, ENTRY.unpack_from(stored, found)[2])
        else:
            self._irregular(LATE, key, tail, metric, value)

    def _repeated(self, key: bytes, tail: int, metric: int, value: float, first: float) -> None:
        """The same request, metric and outcome id: the first stands."""
        self._irregular(DUPLICATE if value == first else CONFLICT, key, tail, metric, value)

    def _without_request(
        self, key: bytes, named: Named, outcome_id: int, value: float, occurred_ms: int
    ) -> None:
        """No request is open: it has closed, or its prediction may be on its way."""
        state = self._state
        metric, source, _ = named
        if key in state.requests.closed:
            self._after_close(key, metric, outcome_id, value)
            return
        deadline_ms = state.log_time_ms + state.settings.early_wait_ms
        item = WAITING_OUTCOME.pack(
            OUTCOME, deadline_ms, metric, source, outcome_id, value, occurred_ms
        )
        state.wait(key, item)

    def _irregular(self, kind: int, key: bytes, tail: int, metric: int, value: float) -> None:
        named = NONE if metric == ACTIVATION_ENTRY else metric
        self._state.irregular(kind, OUTCOME, key, tail, named, value)

    def _names(self, tails: Sequence[OutcomeTail]) -> list[Named]:
        """Numbers for each tail; most tails are the same few objects."""
        known = {id(tail): tail for tail in tails}
        numbers = {identity: self._number(tail) for identity, tail in known.items()}
        return list(map(numbers.__getitem__, map(id, tails)))

    def _number(self, tail: OutcomeTail) -> Named:
        names = self._state.interned.names
        metric = ACTIVATION_ENTRY if tail.activation else names.number(tail.metric)
        return self._touch(metric, names.number(tail.source) if tail.source else NONE)

    def _touch(self, metric: int, source: int) -> Named:
        names, horizon_ms = self._state.interned.names, self._state.horizon_ms
        cost = 0
        for number in (metric, source):
            if number < ACTIVATION_ENTRY:
                names.touch(number, horizon_ms)
                cost += names.costs[number]
        return metric, source, cost
