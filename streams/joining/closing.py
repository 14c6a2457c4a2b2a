"""Time moves: requests close, what waited in vain is given up, what is old is forgotten."""

from __future__ import annotations

from tidegate.streams.joining import attribution
from tidegate.streams.joining.layout import CLOSED_BYTES, HEAD, entries_start
from tidegate.streams.joining.state import ORPHAN, JoinState


def advance(state: JoinState, log_time_ms: int) -> None:
    """Log time reaches `log_time_ms`: everything before it is concluded, then batches are cut."""
    state.log_time_ms = log_time_ms
    requests, settings = state.requests, state.settings
    for deadline_ms, keys in requests.due(log_time_ms):
        for key in keys:
            _close(state, key)
        requests.remember(deadline_ms, len(keys))
    for key, item in state.waiting.expire(log_time_ms):
        state.give_up(ORPHAN, key, item)
    requests.forget(log_time_ms - settings.closed_memory_ms, settings.closed_max)
    state.batches.tick(log_time_ms)
    # An open batch may refer to what was forgotten less than an emit interval ago.
    memory_ms = settings.closed_memory_ms + settings.emit_interval_ms
    if state.interned.sweep(log_time_ms, memory_ms):
        state.batches.forget_tails()


def _close(state: JoinState, key: bytes) -> None:
    """Conclude a request; one that was deferred and never activated is no fact."""
    stored = state.requests.open.pop(key)
    _, _, tail, held, _, _, _, _, layout, _ = HEAD.unpack_from(stored)
    start = entries_start(stored)
    entries = stored[start:]
    state.requests.closed[key] = stored[:CLOSED_BYTES] + entries
    state.counts["prediction.counted"] += 1
    if state.interned.tails.get(tail).deferred and not attribution.is_activated(entries):
        return
    summaries = attribution.summarise(entries) if entries else []
    state.batches.closed(key, stored[:start], tail, held, layout, summaries)
