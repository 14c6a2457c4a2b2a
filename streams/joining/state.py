"""The joiner's whole state, and its way to bytes and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.codec import Bindings
from tidegate.schemas.facts import CLASSES, NONE, STREAMS
from tidegate.schemas.topics import merged_topics
from tidegate.streams.joining.batches import Batches
from tidegate.streams.joining.contexts import Interned
from tidegate.streams.joining.dead_letters import DeadLetters
from tidegate.streams.joining.layout import (
    ACTIVATION_ENTRY,
    WAITING_OUTCOME,
    WAITING_SHADOW,
)
from tidegate.streams.joining.packed import Dumped
from tidegate.streams.joining.requests import Requests
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.joining.waiting import Waiting
from tidegate.streams.output import Emit

PREDICTION, SHADOW, OUTCOME = range(len(STREAMS))
LATE, ORPHAN, DUPLICATE, CONFLICT, EXPIRED = range(1, len(CLASSES))

_COUNTED: Final = ("input", "counted", *CLASSES[1:], "dead_lettered")


class JoinState:
    """Everything a joiner of one partition index remembers.

    `counts` has `stream.class` for every stream and class of the conservation law: input =
    counted + duplicate + conflict + late + orphan + expired + dead_lettered + pending.
    """

    def __init__(
        self,
        partition: int,
        settings: JoinerSettings,
        engine: str,
        emit: Emit,
        bindings: Bindings | None = None,
    ) -> None:
        topics = [topic.name for topic in merged_topics("joiner")]
        self.settings = settings
        self.bindings = bindings
        self.log_time_ms = 0
        self.requests = Requests()
        self.waiting = Waiting()
        self.interned = Interned(settings.interned_max)
        self.batches = Batches(partition, settings, engine, self.interned, emit)
        self.dead_letters = DeadLetters(partition, topics, engine, emit)
        self.counts = {f"{stream}.{kind}": 0 for stream in STREAMS for kind in _COUNTED}

    @property
    def horizon_ms(self) -> int:
        """The latest deadline of what may refer to a name that is used now."""
        waiting_ms = self.log_time_ms + self.settings.early_wait_ms
        return max(self.requests.latest_deadline_ms, waiting_ms)

    def irregular(
        self, kind: int, stream: int, key: bytes, tail: int, metric: int, value: float
    ) -> None:
        """Count and tell a record that does not count."""
        self.counts[f"{STREAMS[stream]}.{CLASSES[kind]}"] += 1
        self.batches.irregular(kind, stream, key, tail, metric, value)

    def wait(self, key: bytes, item: bytes) -> None:
        """Let an outcome or shadow wait for its prediction."""
        if len(self.waiting) >= self.settings.waiting_max:
            self.give_up(EXPIRED, *self.waiting.give_up())
        self.waiting.add(key, item)

    def give_up(self, kind: int, key: bytes, item: bytes) -> None:
        """Tell of what has waited in vain, as `kind`."""
        if item[0] == OUTCOME:
            _, _, metric, _, _, value, _ = WAITING_OUTCOME.unpack(item)
            named = NONE if metric == ACTIVATION_ENTRY else metric
            self.irregular(kind, OUTCOME, key, NONE, named, value)
        else:
            score = WAITING_SHADOW.unpack(item)[4]
            self.irregular(kind, SHADOW, key, NONE, NONE, score)

    def dump(self) -> bytes:
        """All of it; equal states give equal bytes, whatever history led there."""
        requests, packed = self.requests.dump()
        heads, blocks = self.batches.dump()
        head = {
            "log_time_ms": self.log_time_ms,
            "requests": requests,
            "interned": self.interned.dump(),
            "covers": self.batches.covers,
            "batches_log_time_ms": self.batches.log_time_ms,
            "facts": self.batches.facts,
            "batches": heads,
            "counts": self.counts,
        }
        return _join(
            [
                canonical_json(head).encode(),
                *packed,
                self.waiting.dump(),
                *blocks,
            ]
        )

    def load(self, data: bytes) -> None:
        """Become what `dump` told; must be new."""
        text, rows, sizes, extras, waiting, *blocks = _split(data)
        head = json.loads(text)
        self.log_time_ms = head["log_time_ms"]
        self.requests.load(head["requests"], Dumped(rows, sizes, extras))
        self.waiting.load(waiting)
        self.interned.load(head["interned"])
        self.batches.covers[:] = head["covers"]
        self.batches.log_time_ms = head["batches_log_time_ms"]
        self.batches.facts = head["facts"]
        self.batches.load(head["batches"], blocks)
        self.counts = head["counts"]

    def counters(self) -> dict[str, int]:
        """`counts`, what is pending per stream, and sizes of what is remembered."""
        waiting = self.waiting.count(OUTCOME)
        return {
            **self.counts,
            "prediction.pending": self.requests.open_count,
            "shadow.pending": len(self.waiting) - waiting,
            "outcome.pending": waiting,
            "closed": self.requests.closed_count,
            "facts": self.batches.facts,
        }


def _join(sections: Sequence[bytes]) -> bytes:
    """Sections behind their number and sizes, 8 bytes each."""
    sizes = b"".join(len(section).to_bytes(8, "little") for section in sections)
    return b"".join([len(sections).to_bytes(8, "little"), sizes, *sections])


def _split(data: bytes) -> list[bytes]:
    count = int.from_bytes(data[:8], "little")
    start = 8 + 8 * count
    sections = []
    for place in range(count):
        size = int.from_bytes(data[8 + 8 * place : 16 + 8 * place], "little")
        sections.append(data[start : start + size])
        start += size
    return sections
