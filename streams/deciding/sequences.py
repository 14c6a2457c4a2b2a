"""Observations are used once, in order, per source partition; the watermark is what they tell.

A joiner numbers its batches densely per (source partition, observations partition). After a crash
it emits the same batches again, so a known number is dropped. A number above the expected one is
dropped *without advancing*: the joiner checkpoints behind acknowledged outputs only, so the
missing batch comes again, followed by this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from tidegate.schemas.marks import Marker

GAP_ALARM_MS = 10_000
"""Log time after which a gap that did not heal is an alarm."""

DIGITS_MAX = 15

NOTHING = -1
"""The watermark before every source partition was heard."""


class Reading(Enum):
    """What to do with a batch."""

    NEXT = "next"
    KNOWN = "known"
    GAP = "gap"


class Sequences:
    """Expected number and joiner's log time per source partition.

    `watermark_ms` is the smallest joiner log time over all source partitions; `NOTHING` until each
    was heard: nothing may be concluded about time before every joiner has spoken.
    """

    __slots__ = ("_alarmed", "_gap_since_ms", "_log_times_ms", "_open", "expected", "watermark_ms")

    def __init__(self, partitions: int) -> None:
        self.expected = [0] * partitions
        self._log_times_ms = [NOTHING] * partitions
        self._gap_since_ms = [-1] * partitions
        self._alarmed = [False] * partitions
        self._open = [False] * partitions
        self.watermark_ms = NOTHING

    def read(self, source: int, sequence: int, log_time_ms: int) -> Reading:
        """Judges a batch; a known or far one changes nothing but the memory of the gap."""
        expected = self.expected[source]
        if sequence < expected:
            return Reading.KNOWN
        if sequence > expected and self._open[source]:
            self.expected[source] = sequence
        elif sequence > expected:
            if self._gap_since_ms[source] < 0:
                self._gap_since_ms[source] = log_time_ms
            return Reading.GAP
        return Reading.NEXT

    def accept(self, source: int, joiner_log_time_ms: int) -> bool:
        """Advances past the expected batch; returns whether the watermark rose."""
        self.expected[source] += 1
        self._heal(source)
        times = self._log_times_ms
        # A joiner restored from an older cut may repeat a time, never take one back.
        times[source] = max(times[source], joiner_log_time_ms)
        lowest = min(times)
        if lowest <= self.watermark_ms:
            return False
        self.watermark_ms = lowest
        return True

    def accept_gap(self, arguments: Mapping[str, str]) -> str:
        """A person recorded that batches are lost; says so, or nothing when it names none.

        `source_partition` goes on at batch `sequence`, never at an earlier one.
        """
        source, sequence = arguments.get("source_partition", ""), arguments.get("sequence", "")
        if not (_is_number(source) and _is_number(sequence)):
            return ""
        place = int(source)
        if place >= len(self.expected):
            return ""
        self.expected[place] = max(self.expected[place], int(sequence))
        self._heal(place)
        goes_on = f"source partition {place} goes on at batch {self.expected[place]}"
        return f"gap accepted: {goes_on}{said_by(arguments)}"

    def accept_loss(self, marker: Marker, in_observations: bool) -> str:
        """What a marker of a merged log accepts as lost, in words; empty when that is nothing.

        Where observations themselves are missing, each source goes on at its next batch.
        """
        if marker.kind == "skip":
            if in_observations:
                self._open = [True] * len(self._open)
            return accepted_loss(marker.arguments)
        if marker.kind == "gap" and in_observations:
            return accepted_loss(marker.arguments) or self.accept_gap(marker.arguments)
        return ""

    def overdue(self, log_time_ms: int) -> list[int]:
        """Source partitions whose gap has just become an alarm; each is named once per gap."""
        found = [
            source
            for source, since_ms in enumerate(self._gap_since_ms)
            if since_ms >= 0
            and not self._alarmed[source]
            and log_time_ms - since_ms >= GAP_ALARM_MS
        ]
        for source in found:
            self._alarmed[source] = True
        return found

    def slowest(self) -> int:
        """The source partition that holds the watermark back; the first of equals."""
        return self._log_times_ms.index(min(self._log_times_ms))

    def covered(self) -> dict[str, int]:
        """How far batches were used, as a decision names it."""
        return {f"observations/{number}": sequence for number, sequence in enumerate(self.expected)}

    def to_state(self) -> dict[str, Any]:
        """As JSON-able state."""
        return {
            "expected": list(self.expected),
            "log_times_ms": list(self._log_times_ms),
            "gap_since_ms": list(self._gap_since_ms),
            "alarmed": list(self._alarmed),
            "open": list(self._open),
            "watermark_ms": self.watermark_ms,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Sequences:
        """The inverse of `to_state`."""
        sequences = cls(len(state["expected"]))
        sequences.expected = list(state["expected"])
        sequences._log_times_ms = list(state["log_times_ms"])
        sequences._gap_since_ms = list(state["gap_since_ms"])
        sequences._alarmed = list(state["alarmed"])
        sequences._open = list(state["open"])
        sequences.watermark_ms = state["watermark_ms"]
        return sequences

    def _heal(self, source: int) -> None:
        self._gap_since_ms[source] = -1
        self._alarmed[source] = False
        self._open[source] = False


def accepted_loss(arguments: Mapping[str, str]) -> str:
    """What a marker says that accepts missing records of a log; nothing when it names none.

    >>> accepted_loss({"topic": "outcomes", "partition": "2", "begin": "5", "end": "9"})
    'gap accepted: outcomes-2 has nothing at offsets 5 to 8'
    """
    numbers = [arguments.get(name, "") for name in ("partition", "begin", "end")]
    if not arguments.get("topic") or not all(map(_is_number, numbers)):
        return ""
    partition, begin, end = map(int, numbers)
    lost = f"{arguments['topic']}-{partition} has nothing at offsets {begin} to {end - 1}"
    return f"gap accepted: {lost}{said_by(arguments)}"


def said_by(arguments: Mapping[str, str]) -> str:
    """Reason and actor of a marker, as a reason of a decision ends with them."""
    reason, actor = arguments.get("reason", ""), arguments.get("actor", "")
    return (f": {reason}" if reason else "") + (f" ({actor})" if actor else "")


def _is_number(text: str) -> bool:
    """Whether a person's text is a number that still has 64 bits."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
