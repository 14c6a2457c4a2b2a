"""Time moves: requests close, what waited in vain is given up, what is old is forgotten."""

from __future__ import annotations

from typing import Final

from tidegate.streams.joining import attribution
from tidegate.streams.joining.batches import ROW_BYTES, SUMMARY_BYTES
from tidegate.streams.joining.closing_together import closing_of
from tidegate.streams.joining.layout import (
    HEAD,
    HEAD_BYTES,
    METRIC_ROW,
    SHADOW_MARK,
    TAIL_AND_SET,
    entries_start,
)
from tidegate.streams.joining.state import ORPHAN, JoinState

_TOGETHER_MIN: Final = 32
"""Fewer requests than this are faster one by one."""


def advance(state: JoinState, log_time_ms: int) -> None:
    """Log time reaches `log_time_ms`: everything before it is concluded, then batches are cut."""
    state.log_time_ms = log_time_ms
    requests, settings = state.requests, state.settings
    for keys, values in requests.due(log_time_ms):
        state.counts["prediction.counted"] += len(keys)
        _close(state, keys, values)
    for key, item in state.waiting.expire(log_time_ms):
        state.give_up(ORPHAN, key, item)
    requests.forget(log_time_ms - settings.closed_memory_ms, settings.closed_max)
    state.batches.tick(log_time_ms)
    # An open batch may refer to what was forgotten less than an emit interval ago.
    memory_ms = settings.closed_memory_ms + settings.emit_interval_ms
    if state.interned.sweep(log_time_ms, memory_ms):
        state.batches.forget_tails()


def _close(state: JoinState, keys: list[bytes], values: list[bytes]) -> None:
    """Facts of requests whose time is up: together while every batch has room, else in halves."""
    if len(keys) >= _TOGETHER_MIN:
        closing = closing_of(state, keys, values)
        if closing is not None and closing.fits():
            closing.put()
            return
        if closing is not None:
            middle = len(keys) // 2
            _close(state, keys[:middle], values[:middle])
            _close(state, keys[middle:], values[middle:])
            return
    _close_singly(state, keys, values)


def _close_singly(state: JoinState, keys: list[bytes], values: list[bytes]) -> None:
    """The inner loop: what happens to almost every request stands here, the rest is called."""
    batches, interned = state.batches, state.interned
    items, tail_costs, name_costs = interned.tails.items, interned.tails.costs, interned.names.costs
    set_costs, least_cost, by_tail = interned.attributes.costs, batches.least_cost, batches.by_tail
    for key, stored in zip(keys, values, strict=True):
        tail, held = TAIL_AND_SET.unpack_from(stored)
        shared = items[tail]
        if stored[HEAD_BYTES - 1] or shared is None or shared.deferred:
            _conclude(state, key, stored)
            continue
        entries = stored[HEAD_BYTES:]
        batch = by_tail.get(tail) or batches.of(tail)
        cost = tail_costs[tail] + set_costs[held] + ROW_BYTES
        if SHADOW_MARK in entries:
            cost += batches.closed_shadows(batch, attribution.scored_shadows(stored, entries))
        rows = batch.rows
        if entries:
            for summary in attribution.summarise(entries):
                rows.summaries.append(METRIC_ROW.pack(len(rows.closed), *summary))
                cost += SUMMARY_BYTES + name_costs[summary[0]]
        rows.closed.append(key + stored[:HEAD_BYTES])
        batch.room -= cost if cost > least_cost else least_cost
        if batch.room <= 0:
            batches.cut(batch)


def _conclude(state: JoinState, key: bytes, stored: bytes) -> None:
    """A request with features, or one that was deferred: never activated, it is no fact."""
    start = entries_start(stored)
    entries = stored[start:]
    _, _, tail, held, _, _, _, _, layout, _ = HEAD.unpack_from(stored)
    if state.interned.tails.get(tail).deferred and not attribution.is_activated(entries):
        return
    summaries = attribution.summarise(entries) if entries else ()
    shadows = attribution.scored_shadows(stored, entries) if SHADOW_MARK in entries else ()
    state.batches.closed(key, stored[:start], tail, held, layout, summaries, shadows)
