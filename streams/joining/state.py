"""The joiner's whole state, and its way to bytes and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.codec import Bindings
from tidegate.schemas.facts import CLASSES, NONE, STREAMS
from tidegate.schemas.topics import merged_topics
from tidegate.streams.joining.batches import Batches
from tidegate.streams.joining.changelog import Changelog
from tidegate.streams.joining.changes import decode_changes
from tidegate.streams.joining.contexts import Interned
from tidegate.streams.joining.dead_letters import DeadLetters
from tidegate.streams.joining.layout import (
    ACTIVATION_ENTRY,
    WAITING_OUTCOME,
    WAITING_SHADOW,
)
from tidegate.streams.joining.rebuilding import changes_of
from tidegate.streams.joining.requests import Requests
from tidegate.streams.joining.sections import join, split
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
        self.changelog = Changelog(settings.grace_ms)
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

    def joined(self, key: bytes, entry: bytes, served_ms: int, reward_wait_ms: int) -> None:
        """Write down that an entry was added to an open request."""
        self.changelog.entries.append(key + entry)
        self.changelog.untils_ms.append(max(served_ms, self.log_time_ms) + reward_wait_ms)

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
        """All of it but what sealed segments tell; equal states give equal bytes, whatever history
        led there."""
        heads, blocks = self.batches.dump()
        changelog, changes = self.changelog.dump(self.requests.remembered_ms(self.log_time_ms))
        head = {
            "log_time_ms": self.log_time_ms,
            "requests": self.requests.head(),
            "changelog": changelog,
            "interned": self.interned.dump(),
            "covers": self.batches.covers,
            "batches_log_time_ms": self.batches.log_time_ms,
            "facts": self.batches.facts,
            "batches": heads,
            "counts": self.counts,
        }
        return join([canonical_json(head).encode(), changes, self.waiting.dump(), *blocks])

    def load(self, data: bytes, segments: Iterable[bytes]) -> None:
        """Become what `dump` and the contents of segments told; must be new.

        Raises:
            ValueError: not all of the segments are there.
        """
        text, changes, waiting, *blocks = split(data)
        head = json.loads(text)
        self.log_time_ms = head["log_time_ms"]
        remembered_ms = min(
            (pair[0] for pair in head["requests"]["forgetting"]), default=self.log_time_ms + 1
        )
        parts = [decode_changes(content).since(remembered_ms) for content in segments]
        parts.append(self.changelog.load(head["changelog"], changes))
        self.requests.load(head["requests"], parts, self.log_time_ms)
        self.waiting.load(waiting)
        self.interned.load(head["interned"])
        self.batches.covers[:] = head["covers"]
        self.batches.log_time_ms = head["batches_log_time_ms"]
        self.batches.facts = head["facts"]
        self.batches.load(head["batches"], blocks)
        self.counts = head["counts"]

    @property
    def unsealed(self) -> int:
        """How many changes of requests since the last seal are still needed."""
        return self.changelog.unsealed(self.requests.remembered_ms(self.log_time_ms))

    def seal(self) -> dict[str, bytes]:
        """What requests have learned since the last time, as segments by digest."""
        requests = self.requests
        if self.changelog.is_swollen(requests.open_count + requests.closed_count):
            deadlines_ms, dumped = requests.dump()
            self.changelog.rebase(changes_of(dumped, deadlines_ms))
        remembered_ms = requests.remembered_ms(self.log_time_ms)
        return self.changelog.seal(remembered_ms, self.log_time_ms)

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

