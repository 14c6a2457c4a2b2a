"""Recorded breaks: offsets of a merged log that a person accepted will never be read.

A log that lost records cannot say so itself: where retention has deleted them, nothing stands any
more. So the acceptance is a record on a topic of its own, which every fold and every audit reads
before it reads the log. A break is a fact: the first record of a place stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.marks import Marker, skip

TOPIC = "breaks"

Gaps = Mapping[int, Marker]
"""First missing offset -> the marker that stands there in the canonical order, of one log."""


@dataclass(frozen=True, slots=True)
class Break:
    """Offsets `begin` to `end` (exclusive) of a topic-partition are accepted as lost.

    `topic` is without prefix. `told` holds, per observations partition, log time (ms) and next
    number of the batches that a joiner had put out behind its checkpoint when the records were
    lost: what it told then is not told again. Empty where nobody had passed the place.
    """

    topic: str
    partition: int
    begin: int
    end: int
    reason: str
    actor: str
    accepted_at: int
    told: tuple[tuple[int, int], ...] = ()

    @property
    def key(self) -> bytes:
        """Key of its record.

        >>> Break("outcomes", 2, 10, 12, "", "", 0).key
        b'outcomes/2/10'
        """
        return f"{self.topic}/{self.partition}/{self.begin}".encode()

    def encode(self) -> bytes:
        """The value of its record."""
        return canonical_json(asdict(self)).encode()

    def marker(self) -> Marker:
        """What a fold meets where the records are missing."""
        return skip(
            {
                "topic": self.topic,
                "partition": str(self.partition),
                "begin": str(self.begin),
                "end": str(self.end),
                "reason": self.reason,
                "actor": self.actor,
                "told": canonical_json([list(each) for each in self.told]),
            }
        )


def decode_break(key: bytes | None, value: bytes | None) -> Break | None:
    """The break in a record of the topic; None when it is none."""
    try:
        fields = json.loads(value or b"")
        found = Break(
            topic=str(fields["topic"]),
            partition=int(fields["partition"]),
            begin=int(fields["begin"]),
            end=int(fields["end"]),
            reason=str(fields["reason"]),
            actor=str(fields["actor"]),
            accepted_at=int(fields["accepted_at"]),
            told=tuple((int(told_ms), int(number)) for told_ms, number in fields["told"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return found if found.key == key and 0 <= found.begin < found.end else None


def gaps_of(breaks: Iterable[Break], topic: str, partition: int) -> Gaps:
    """Those of one log, as its merge needs them."""
    return {
        each.begin: each.marker()
        for each in breaks
        if (each.topic, each.partition) == (topic, partition)
    }


def follow(gaps: Gaps, offset: int) -> int:
    """Where a log goes on at `offset`: behind accepted breaks, one after the other.

    >>> gaps = gaps_of([Break("a", 0, 5, 8, "", "", 0), Break("a", 0, 8, 9, "", "", 0)], "a", 0)
    >>> follow(gaps, 5), follow(gaps, 4), follow(gaps, 6)
    (9, 4, 6)
    """
    while offset in gaps:
        offset = int(gaps[offset].arguments["end"])
    return offset
