"""Changes of requests in segments that never change again: what makes checkpoints incremental.

Whatever a request learns (that it opened, an outcome, a shadow) is written down in order. From time
to time, at a cut that depends on the canonical order alone, the segments since the last such cut
are sealed: one for each class of deadlines, so that what closes at about the same time is
forgotten together. Closing itself is not written down: deadlines say it. So segments are a function
of the input, whoever wrote them and whenever checkpoints were taken, and one is needed until the
last of its requests is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegate.streams.joining.changes import (
    GIVEN_UP,
    JOINED,
    OPENED,
    ROW_BYTES,
    Changes,
    decode_changes,
    encode_changes,
    together,
)
from tidegate.streams.joining.layout import ENTRY_BYTES, KEY_BYTES
from tidegate.streams.joining.settings import TIMER_GRID_MS

Array = NDArray[Any]

_HELD_MAX: Final = 4_096
"""So many changes may be Python objects, before they become rows of a table."""
_CLASSES_MS: Final = 60_000 << np.arange(32)
"""Deadlines up to a minute ahead are one class, up to two minutes the next, up to four, ..."""
_ENTRIES: Final = np.dtype([("key", "<u8", 2), ("entry", f"V{ENTRY_BYTES}")])
KEPT_SHARE: Final = 3
KEPT_SLACK: Final = 1_000_000
"""A changelog may keep so many times the requests there are, and so many more."""
SEGMENT_ROWS: Final = 65_536


@dataclass(slots=True)
class _Sealed:
    """A segment: digest (SHA-256, hex), when its last request has closed, how many it opened."""

    digest: str
    until_ms: int
    opened: int


class Changelog:
    """Changes of the requests of one partition, in the order in which they happen.

    Loops append to `rows` (key and value of a request that opens) and `deadlines_ms`, and to
    `entries` (key and entry) and `untils_ms`: served_at of its request or log time, whichever is
    later, and its reward wait. `mark` or `end_run` comes before the next request opens.
    """

    __slots__ = (
        "_afters",
        "_given_up",
        "_grace_ms",
        "_joined",
        "_opened",
        "_parts",
        "_sealed",
        "deadlines_ms",
        "entries",
        "rows",
        "untils_ms",
    )

    def __init__(self, grace_ms: int) -> None:
        self.rows: list[bytes] = []
        self.deadlines_ms: list[int] = []
        self.entries: list[bytes] = []
        self.untils_ms: list[int] = []
        self._afters: list[int] = []
        self._given_up: list[tuple[int, int, bytes]] = []
        self._grace_ms = grace_ms
        # How many requests opened and how many entries there were before those in the lists.
        self._opened = 0
        self._joined = 0
        self._parts: list[Changes] = []
        self._sealed: list[_Sealed] = []

    @property
    def segments(self) -> tuple[str, ...]:
        """Digests of the segments that are needed, in order."""
        return tuple(sealed.digest for sealed in self._sealed)

    def end_run(self) -> None:
        """The entries that were appended belong to requests that have opened by now."""
        self.mark()
        if len(self.rows) + len(self.entries) > _HELD_MAX:
            self._fold_in()

    def mark(self) -> None:
        """As `end_run`, while a run goes on."""
        missing = len(self.entries) - len(self._afters)
        if missing:
            self._afters += [self._opened + len(self.rows)] * missing

    def give_up(self, key: bytes, deadline_ms: int) -> None:
        """An open request is given up."""
        self._given_up.append((deadline_ms, self._opened + len(self.rows), key))

    def is_swollen(self, requests: int) -> bool:
        """Whether very much more is kept than so many requests need: most of them were given up."""
        kept = sum(sealed.opened for sealed in self._sealed)
        return kept > KEPT_SHARE * requests + KEPT_SLACK

    def rebase(self, changes: Changes) -> None:
        """Begin anew with what is known now; serial numbers of `changes` begin at 0."""
        self._fold_in()
        changes.opened["serial"] += self._opened
        changes.joined["serial"] += self._joined
        changes.joined["after"] += self._opened
        self._opened += len(changes.opened)
        self._joined += len(changes.joined)
        self._parts = [changes]
        self._sealed.clear()

    def unsealed(self, remembered_ms: int) -> int:
        """How many changes since the last seal are of requests that are not forgotten."""
        return len(self._gathered(remembered_ms))

    def seal(self, remembered_ms: int, log_time_ms: int) -> dict[str, bytes]:
        """Everything since the last time, as segments by digest; those are needed no more whose
        requests had all closed before `remembered_ms`."""
        self._sealed = [it for it in self._sealed if it.until_ms >= remembered_ms]
        changes = self._gathered(remembered_ms)
        contents = dict[str, bytes]()
        for part in _by_class(changes, log_time_ms):
            content = encode_changes(part)
            digest = sha256(content).hexdigest()
            self._sealed.append(_Sealed(digest, part.until_ms, len(part.opened)))
            contents[digest] = content
        self._parts = []
        return contents

    def dump(self, remembered_ms: int) -> tuple[dict[str, Any], bytes]:
        """What is not in segments: numbers, and the changes since the last seal."""
        changes = self._gathered(remembered_ms)
        head = {
            "opened": self._opened,
            "joined": self._joined,
            "sealed": [[it.digest, it.until_ms, it.opened] for it in self._sealed],
        }
        return head, encode_changes(changes)

    def load(self, head: Mapping[str, Any], data: bytes) -> Changes:
        """Become what `dump` told; must be new. Returns the changes since the last seal."""
        self._opened, self._joined = head["opened"], head["joined"]
        self._sealed = [_Sealed(*item) for item in head["sealed"]]
        changes = decode_changes(data)
        self._parts = [changes]
        return changes

    def _gathered(self, remembered_ms: int) -> Changes:
        """All since the last seal, in one table, without what is forgotten."""
        self._fold_in()
        changes = together(self._parts).since(remembered_ms)
        self._parts = [changes]
        return changes

    def _fold_in(self) -> None:
        """What the lists hold becomes a table."""
        self.mark()
        if self.rows or self.entries or self._given_up:
            opened, features = self._opened_table()
            self._parts.append(Changes(opened, features, self._joined_table(), self._lost_table()))
        self._opened += len(self.rows)
        self._joined += len(self.entries)
        for held in (self.rows, self.deadlines_ms, self.entries, self.untils_ms, self._afters):
            held.clear()
        self._given_up.clear()

    def _opened_table(self) -> tuple[Array, Array]:
        count = len(self.rows)
        table = np.empty(count, OPENED)
        joined, features = b"".join(self.rows), b""
        if len(joined) > count * ROW_BYTES:
            joined = b"".join([row[:ROW_BYTES] for row in self.rows])
            features = b"".join([row[ROW_BYTES:] for row in self.rows])
        table["until_ms"] = self.deadlines_ms
        table["serial"] = np.arange(self._opened, self._opened + count)
        table["row"] = np.frombuffer(joined, OPENED["row"])
        return table, np.frombuffer(features, "<f8")

    def _joined_table(self) -> Array:
        count = len(self.entries)
        table = np.empty(count, JOINED)
        entries = np.frombuffer(b"".join(self.entries), _ENTRIES)
        untils_ms = np.array(self.untils_ms, dtype="<i8") + self._grace_ms
        table["until_ms"] = -(-untils_ms // TIMER_GRID_MS) * TIMER_GRID_MS
        table["serial"] = np.arange(self._joined, self._joined + count)
        table["after"] = self._afters
        table["key"], table["entry"] = entries["key"], entries["entry"]
        return table

    def _lost_table(self) -> Array:
        table = np.empty(len(self._given_up), GIVEN_UP)
        keys = b"".join([key for _, _, key in self._given_up])
        table["until_ms"] = [deadline_ms for deadline_ms, _, _ in self._given_up]
        table["after"] = [after for _, after, _ in self._given_up]
        table["key"] = np.frombuffer(keys, "<u8").reshape(-1, KEY_BYTES // 8)
        return table


def _by_class(changes: Changes, log_time_ms: int) -> Iterator[Changes]:
    """Changes by how far ahead of log time their deadlines are, none of them too large."""
    tables = (changes.opened, changes.joined, changes.given_up)
    classes = [np.searchsorted(_CLASSES_MS, table["until_ms"] - log_time_ms) for table in tables]
    numbers = np.flatnonzero(np.bincount(np.concatenate(classes))).tolist()
    for number in numbers:
        is_all = len(numbers) == 1
        part = changes if is_all else changes.where(*(found == number for found in classes))
        counts = (len(part.opened), len(part.joined), len(part.given_up))
        for start in range(0, max(counts), SEGMENT_ROWS):
            masks = [np.arange(count) // SEGMENT_ROWS == start // SEGMENT_ROWS for count in counts]
            yield part.where(*masks) if max(counts) > SEGMENT_ROWS else part
