"""A shadow prediction is paired with the prediction of the same request."""

from __future__ import annotations

import struct

from tidegate.schemas.decoding.columns import ShadowColumns
from tidegate.schemas.decoding.shadows import ShadowDecoder
from tidegate.schemas.facts import NONE
from tidegate.streams.joining import attribution
from tidegate.streams.joining.batches import ROW_BYTES
from tidegate.streams.joining.layout import (
    ANSWER,
    CLOSED_BYTES,
    ENTRY,
    ENTRY_BYTES,
    ENTRY_NAME,
    HEAD_BYTES,
    IDENTITY,
    SHADOW_ENTRY,
    SHADOW_ROW,
    WAITING_SHADOW,
    entries_start,
)
from tidegate.streams.joining.refusal import refuse
from tidegate.streams.joining.settings import OUTCOMES_MAX
from tidegate.streams.joining.state import (
    CONFLICT,
    DUPLICATE,
    EXPIRED,
    LATE,
    SHADOW,
    JoinState,
)
from tidegate.streams.merge import Run

_DOUBLE = struct.Struct("<d")


class Shadows:
    """Joins the records of `shadow-predictions`.

    A request has at most one shadow per context; a repeat is a duplicate when it answered the
    same, else a conflict.
    """

    def __init__(self, state: JoinState) -> None:
        self._state = state
        self._decoder = ShadowDecoder(state.bindings)

    def records(self, run: Run) -> None:
        """Take a run of shadow predictions."""
        state = self._state
        columns = self._decoder.decode(run.values, run.start, run.stop)
        refuse(state, run, columns, columns.served_at)
        state.requests.recall(columns.keys)
        shadow_tails = state.interned.shadow_tails
        numbers = shadow_tails.numbers(columns.tails)
        for number in sorted(set(numbers) - {NONE}):
            shadow_tails.touch(number, state.horizon_ms)
        self._pair_all(run, columns, numbers)
        state.batches.covers[SHADOW] = run.first_offset + run.stop - run.start
        state.changelog.end_run()

    def _pair_all(self, run: Run, columns: ShadowColumns, numbers: list[int]) -> None:
        """The inner loop: what happens to almost every record stands here, the rest is called."""
        state = self._state
        batches, open_requests = state.batches, state.requests.open
        tail_costs, costs = state.interned.tails.costs, state.interned.shadow_tails.costs
        least_cost, by_tail = batches.least_cost, batches.by_tail
        covers, base = batches.covers, run.first_offset - run.start + 1
        entries, untils_ms = state.changelog.entries, state.changelog.untils_ms
        items, now_ms = state.interned.tails.items, state.log_time_ms
        counted = 0
        for index, key, number, score, label, latency in zip(
            columns.index, columns.keys, numbers, columns.score, columns.label, columns.latency,
            strict=True,
        ):  # fmt: skip
            stored = open_requests.get(key)
            if (
                stored is None
                or number == NONE
                or len(stored) > HEAD_BYTES + 8 * stored[HEAD_BYTES - 1]
            ):
                covers[SHADOW] = base + index
                self._take(key, number, score, label, latency)
                continue
            served_ms, tail, first_score, first_latency, first_label = ANSWER.unpack_from(stored)
            entry = ENTRY.pack(SHADOW_ENTRY, number, score, label)
            open_requests[key] = stored + entry
            entries.append(key + entry)
            begin_ms = served_ms if served_ms > now_ms else now_ms
            untils_ms.append(begin_ms + items[tail].reward_wait_ms)
            counted += 1
            batch = by_tail.get(tail) or batches.of(tail)
            batch.rows.shadows.append(
                SHADOW_ROW.pack(
                    key, tail, number, first_score, score,
                    attribution.agreement(first_label, label), first_latency, latency,
                )
            )  # fmt: skip
            cost = costs[number] + tail_costs[tail] + ROW_BYTES
            batch.room -= cost if cost > least_cost else least_cost
            if batch.room <= 0:
                covers[SHADOW] = base + index
                batches.cut(batch)
        state.counts["shadow.counted"] += counted

    def _take(self, key: bytes, number: int, score: float, label: int, latency: float) -> None:
        state = self._state
        if key in state.requests.open:
            self._pair(key, number, score, label, latency)
        elif key in state.requests.closed:
            self._after_close(key, number, score, label)
        else:
            deadline_ms = state.log_time_ms + state.settings.early_wait_ms
            state.wait(
                key, WAITING_SHADOW.pack(SHADOW, deadline_ms, number, label, score, latency)
            )

    def after_waiting(self, key: bytes, item: bytes) -> None:
        """Pair a shadow whose prediction has just come."""
        _, _, number, label, score, latency = WAITING_SHADOW.unpack(item)
        if number != NONE:
            self._state.interned.shadow_tails.touch(number, self._state.horizon_ms)
        self._pair(key, number, score, label, latency)

    def _pair(self, key: bytes, number: int, score: float, label: int, latency: float) -> None:
        state = self._state
        stored = state.requests.open[key]
        served_ms, tail, first_score, first_latency, first_label = ANSWER.unpack_from(stored)
        start = entries_start(stored)
        kept = len(stored) - start
        if number == NONE or kept >= OUTCOMES_MAX * ENTRY_BYTES:
            state.irregular(EXPIRED, SHADOW, key, tail, NONE, score)
            return
        if kept:
            found = attribution.find_entry(stored, start, ENTRY_NAME.pack(SHADOW_ENTRY, number))
            if found >= 0:
                self._repeated(key, tail, stored, found, score, label)
                return
        entry = ENTRY.pack(SHADOW_ENTRY, number, score, label)
        state.requests.open[key] = stored + entry
        state.joined(key, entry, served_ms, state.interned.tails.get(tail).reward_wait_ms)
        state.counts["shadow.counted"] += 1
        agree = attribution.agreement(first_label, label)
        state.batches.shadow(key, tail, number, (first_score, score, agree, first_latency, latency))

    def _after_close(self, key: bytes, number: int, score: float, label: int) -> None:
        stored = self._state.requests.closed[key]
        tail = IDENTITY.unpack_from(stored)[2]
        name = ENTRY_NAME.pack(SHADOW_ENTRY, number)
        found = attribution.find_entry(stored, CLOSED_BYTES, name)
        if found >= 0:
            self._repeated(key, tail, stored, found, score, label)
        else:
            self._state.irregular(LATE, SHADOW, key, tail, NONE, score)

    def _repeated(
        self, key: bytes, tail: int, stored: bytes, found: int, score: float, label: int
    ) -> None:
        _, _, first_score, first_label = ENTRY.unpack_from(stored, found)
        # By bytes: an absent score is NaN, which equals nothing.
        same = (_DOUBLE.pack(first_score), first_label) == (_DOUBLE.pack(score), label)
        self._state.irregular(DUPLICATE if same else CONFLICT, SHADOW, key, tail, NONE, score)
