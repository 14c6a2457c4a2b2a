"""Bugs of ticker, merge, joiner and recovery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from tests.simulation.planting import JOINING, Bug, before, nothing
from tidegate.agents import ticker
from tidegate.agents.hosting import restore
from tidegate.agents.hosting.snapshots import Manifest, Segment, unpack, unpack_segment
from tidegate.schemas.marks import Marker
from tidegate.streams import folding, merge
from tidegate.streams.joining import (
    attribution,
    batches,
    changelog,
    contexts,
    predictions,
    rebuilding,
    requests,
    waiting,
)
from tidegate.streams.joining.changes import encode_changes, together
from tidegate.streams.joining.state import EXPIRED, JoinState


def _find_by_value(state: bytes, start: int, name: bytes) -> int:
    return state.find(name[:4], start)


def _blocked_on_higher(self: Any) -> int:
    best, best_ms = 0, -1
    for rank, segments in enumerate(self._segments):
        time_ms = segments[0].log_time_ms if segments else self._fed_times_ms[rank]
        if best_ms < 0 or time_ms <= best_ms:
            best, best_ms = rank, time_ms
    return best


def _impatient(self: Any) -> Any:
    """Releases whatever is there, by log time: an empty log is not waited for."""
    heads = [(segments[0].log_time_ms, rank) for rank, segments in enumerate(self._segments)
             if segments]  # fmt: skip
    if not heads:
        return None
    rank = min(heads)[1]
    return rank, self._segments[rank][0]


def _summary_by_arrival(entries: bytes) -> Any:
    found = _summarise(entries)
    return [(metric, n, last, first, total, low, high)
            for metric, n, first, last, total, low, high in found]  # fmt: skip


_summarise = attribution.summarise


def _load_without_times(self: Any, state: bytes, segments: Any = ()) -> None:
    _load(self, state, segments)
    self.merge = merge.Merge(self.merge.next_offsets, [0] * 3, self.merge.jumps_ms)


def _load_without_jumps(self: Any, state: bytes, segments: Any = ()) -> None:
    _load(self, state, segments)
    self.merge = merge.Merge(self.merge.next_offsets, self.merge.log_times_ms)


_load = folding.PartitionFold.load


def _old_numbers(self: Any, columns: Any) -> Any:
    """Layouts of measures are numbered later, as it was before the simulator found it."""
    interner = self._state.interned.layouts
    pairs = [doubles or ((), b"") for doubles in columns.features]
    return interner.numbers([names for names, _ in pairs]), [len(names) for names, _ in pairs]


def _one_shot_timer(self: Any, deadline_ms: int) -> list[bytes]:
    keys: list[bytes] = _timer(self, deadline_ms)
    return keys if len(self.open) < 3 or keys else []


_timer = requests.Requests.timer


def _latest_deadline(self: Any) -> tuple[int, bytes, bytes]:
    if not self.timers:
        found: tuple[int, bytes, bytes] = _expire(self)
        return found
    deadline_ms = max(self.timers)
    key = self.timers[deadline_ms].pop()
    if not self.timers[deadline_ms]:
        del self.timers[deadline_ms]
    return deadline_ms, key, self.open.pop(key)


def _first_come(self: Any) -> tuple[int, bytes, bytes]:
    keys = self.timers.get(self._timers.first(), [])
    keys[:] = [*keys[1:], *keys[:1]]
    found: tuple[int, bytes, bytes] = _expire(self)
    return found


_expire = requests.Requests.expire


def _last_come(self: Any, key: bytes, item: bytes) -> None:
    if len(self.waiting) >= self.settings.waiting_max:
        self.give_up(EXPIRED, key, item)
    else:
        self.waiting.add(key, item)


def _trusting(manifest: Manifest, chunks: list[bytes]) -> bytes | None:
    state = unpack(manifest, chunks)
    return state if state is not None or not chunks else b"".join(chunks)


def _believing(segment: Segment, chunks: list[bytes]) -> bytes | None:
    content = unpack_segment(segment, chunks)
    return encode_changes(together([])) if content is None and chunks else content


def _later(self: Any, head: Any, parts: Any, now_ms: int) -> Any:
    moved = []
    for part in parts:
        opened = part.opened.copy()
        opened["until_ms"][opened["until_ms"] > now_ms] += 100
        moved.append(replace(part, opened=opened))
    return self, head, moved, now_ms


def _mark_too_low(self: Any) -> None:
    missing = len(self.entries) - len(self._afters)
    self._afters += [max(0, self._opened + len(self.rows) - 1)] * missing


def _load_without_parts(self: Any, head: Any, data: bytes) -> Any:
    changes = _load_changelog(self, head, data)
    self._parts = []
    return changes


_load_changelog = changelog.Changelog.load


BUGS: Final[Mapping[str, Bug]] = {
    "window closed above": Bug(
        "an outcome exactly at the end of the reward wait is credited", JOINING, attribution,
        "in_window", lambda after, wait, early: -early <= after <= wait),
    "window open below": Bug(
        "an outcome exactly at the early tolerance is refused", JOINING, attribution,
        "in_window", lambda after, wait, early: -early < after < wait),
    "deadline without served_at": Bug(
        "a request served ahead of log time closes too early", JOINING, attribution,
        "deadline_ms", lambda log_ms, served_ms, wait_ms: -(-(log_ms + wait_ms) // 100) * 100),
    "deadline rounded down": Bug(
        "requests close up to 100 ms early", JOINING, attribution, "deadline_ms",
        lambda log_ms, served_ms, wait_ms: (max(log_ms, served_ms) + wait_ms) // 100 * 100),
    "no duplicates known": Bug(
        "an outcome that is told twice counts twice", JOINING, attribution, "find_entry",
        lambda state, start, name: -1),
    "duplicates by metric": Bug(
        "a second outcome of a metric is taken for a repetition", JOINING, attribution,
        "find_entry", _find_by_value),
    "first and last changed places": Bug(
        "the last value of a metric is told as its first", JOINING, attribution, "summarise",
        _summary_by_arrival),
    "shadows of closed requests forgotten": Bug(
        "a closed request does not say what its shadows scored", JOINING, attribution,
        "scored_shadows", lambda state, entries: []),
    "labels always agree": Bug(
        "a disagreeing shadow is told as agreeing", JOINING, attribution, "agreement",
        lambda label, other: 1 if label and other else 2),
    "future by either clock": Bug(
        "an old log time alone makes an event one from the future", JOINING, attribution,
        "is_from_the_future",
        lambda event_ms, log_ms, stamp_ms, tolerance_ms:
            event_ms > log_ms + tolerance_ms or event_ms > stamp_ms + tolerance_ms),
    "closed forgotten early": Bug(
        "a closed request is forgotten at once and its repetition counts again", JOINING,
        requests.Requests, "forget",
        before(requests.Requests, "forget", lambda self, through, most:
                (self, through + 2_000, most))),
    "deadlines moved": Bug(
        "after a restart requests close 100 ms late", JOINING, requests.Requests, "load",
        before(requests.Requests, "load", _later)),
    "given up and back": Bug(
        "after a restart a request that was given up is open again", JOINING, rebuilding,
        "_given_up", lambda octets, serials, given_up: np.zeros(len(serials), dtype=np.bool_)),
    "segments dropped early": Bug(
        "closed requests are remembered without the segments that tell of them", JOINING,
        changelog.Changelog, "seal",
        before(changelog.Changelog, "seal", lambda self, remembered_ms, now_ms:
                (self, now_ms + 1, now_ms))),
    "entries disowned": Bug(
        "after a restart what was joined to the newest request is gone", JOINING,
        changelog.Changelog, "mark", _mark_too_low),
    "changes forgotten at a seal": Bug(
        "what was learned since the last checkpoint is in no segment after a restart", JOINING,
        changelog.Changelog, "load", _load_without_parts),
    "damaged segment believed": Bug(
        "a segment that does not verify is gone on from", JOINING, restore, "unpack_segment",
        _believing),
    "waiting lost at a restart": Bug(
        "outcomes that wait for their prediction are gone after a restart", JOINING,
        waiting.Waiting, "load", nothing),
    "sequence begins anew": Bug(
        "after a restart batches are numbered from 0 again", JOINING, batches.Batches, "load",
        before(batches.Batches, "load", lambda self, heads, blocks:
                (self, [[0, cut_ms, room] for _, cut_ms, room in heads], blocks))),
    "last cut forgotten": Bug(
        "after a restart a batch is cut at another tick", JOINING, batches.Batches, "load",
        before(batches.Batches, "load", lambda self, heads, blocks:
                (self, [[sequence, 0, room] for sequence, _, room in heads], blocks))),
    "numbers not taken back": Bug(
        "interned numbers are forgotten after a restart", JOINING, contexts.Interner, "load",
        before(contexts.Interner, "load", lambda self, found, read:
                (self, [pair and [pair[0], -1] for pair in found], read))),
    "nobody expires": Bug(
        "more requests are open than may be", JOINING, predictions.Predictions, "_expire",
        nothing),
    "latest deadline given up": Bug(
        "of too many open requests the one goes that would close last", JOINING,
        requests.Requests, "expire", _latest_deadline),
    "first come given up": Bug(
        "of equal deadlines the request goes that came first", JOINING, requests.Requests,
        "expire", _first_come),
    "last come waits for nothing": Bug(
        "of too many waiting outcomes the newest is given up", JOINING, JoinState, "wait",
        _last_come),
    "one too many remembered": Bug(
        "more closed requests are remembered than may be", JOINING, requests.Requests, "forget",
        before(requests.Requests, "forget", lambda self, through, most:
                (self, through, most + 1))),
    "timers lost in a crowd": Bug(
        "with three open requests a new deadline gets no timer", JOINING, requests.Requests,
        "timer", _one_shot_timer),
    "layouts numbered by run": Bug(
        "numbers depend on where a fetch ended", JOINING, predictions.Predictions, "_layouts",
        _old_numbers),
    "ties to the higher rank": Bug(
        "of equal log times outcomes go before predictions", JOINING, merge.Merge, "blocked_on",
        _blocked_on_higher),
    "empty logs not waited for": Bug(
        "the order depends on what was fetched first", JOINING, merge.Merge, "head", _impatient),
    "ticks may go back": Bug(
        "a second ticker's older tick sets log time back", JOINING, merge, "_after_tick",
        lambda time_ms, jump_ms, tick_ms: tick_ms),
    "any jump is believed": Bug(
        "a broken clock moves log time without announcement", JOINING, merge,
        "MAX_TICK_STEP_MS", 10**15),
    "no announcements": Bug(
        "the ticker announces jumps in words that no fold reads, and time stands still for ever",
        JOINING, ticker, "time_jump", lambda to_ms: Marker("time-jump", {"to": str(to_ms)})),
    "log times not restored": Bug(
        "after a restart records have log time 0 until the next tick", JOINING,
        folding.PartitionFold, "load", _load_without_times),
    "jumps not restored": Bug(
        "after a restart an announced jump is not believed", JOINING, folding.PartitionFold,
        "load", _load_without_jumps),
    "damaged checkpoint believed": Bug(
        "what does not verify is gone on from", JOINING, restore, "unpack", _trusting),
}  # fmt: skip
