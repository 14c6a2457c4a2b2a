"""A joiner told what happens step by step, in ms since the beginning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.streams.joining.traffic import BEGIN_MS, SETTINGS, outcome, prediction, shadow
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import DeadLetter
from tidegate.schemas.facts import CLASSES, NONE, STREAMS, ObservationBatch
from tidegate.schemas.observation_reading import decode_observation
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.merge import Run
from tidegate.streams.output import Output


class Scenario:
    """One joiner of partition 0, and what came out of it.

    `at(ms)` moves log time; the others send one record at the present log time.
    """

    def __init__(self, settings: JoinerSettings = SETTINGS) -> None:
        self.settings = settings
        self.outputs: list[Output] = []
        self.joiner = Joiner(0, settings, "engine", self.outputs.append)
        self.segments: dict[str, bytes] = {}
        self.offsets = [0, 0, 0]
        self.now_ms = 0
        self.at(0)

    def at(self, now_ms: int) -> Scenario:
        """Log time moves to `now_ms`."""
        self.now_ms = now_ms
        self.joiner.advance(BEGIN_MS + now_ms)
        return self

    def send(
        self, rank: int, *values: bytes | None, timestamps_ms: Sequence[int] = (0,)
    ) -> Scenario:
        """A run of records of a topic; `timestamps_ms` are their Kafka timestamps."""
        stamps = [BEGIN_MS + at_ms for at_ms in timestamps_ms] * len(values)
        run = Run(
            rank, BEGIN_MS + self.now_ms, self.offsets[rank], list(values), 0, len(values),
            stamps.__getitem__,
        )  # fmt: skip
        self.offsets[rank] += len(values)
        self.joiner.records(run)
        return self

    def predict(
        self, request_id: str = "r", served_ms: int | None = None, **fields: Any
    ) -> Scenario:
        """A prediction, served now unless told otherwise."""
        at_ms = self.now_ms if served_ms is None else served_ms
        return self.send(0, prediction(request_id, BEGIN_MS + at_ms, **fields))

    def shadow(self, request_id: str = "r", **fields: Any) -> Scenario:
        """A shadow prediction."""
        return self.send(1, shadow(request_id, BEGIN_MS + self.now_ms, **fields))

    def outcome(
        self, request_id: str = "r", at_ms: int | None = None, value: float = 1.0, **fields: Any
    ) -> Scenario:
        """An outcome that occurred now unless told otherwise."""
        occurred_ms = self.now_ms if at_ms is None else at_ms
        return self.send(2, outcome(request_id, BEGIN_MS + occurred_ms, value, **fields))

    def seal(self) -> Scenario:
        """What requests have learned goes into segments."""
        self.segments |= self.joiner.seal()
        return self

    def reload(self) -> Scenario:
        """Go on in another joiner, from the dumped state and its segments; outputs are kept."""
        before = self.joiner
        state, segments = before.dump(), [self.segments[digest] for digest in before.segments]
        self.joiner = Joiner(0, self.settings, "engine", self.outputs.append)
        self.joiner.load(state, segments)
        assert self.joiner.dump() == state
        assert self.joiner.segments == before.segments
        assert requests_of(self.joiner) == requests_of(before)
        return self

    # -- out

    def count(self, name: str) -> int:
        """A counter of the joiner."""
        return self.joiner.counters()[name]

    def batches(self) -> list[ObservationBatch]:
        """All observations so far, decoded."""
        return [
            decode_observation(it.value)
            for it in self.outputs
            if it.topic == "observations" and it.value is not None
        ]

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """All facts of a kind so far, as maps; contexts, attributes and names put in."""
        found = []
        for batch in self.batches():
            table = batch.tables[kind]
            for row in range(batch.count(kind)):
                values = {name: column[row].item() for name, column in table.items()}
                found.append({name: _named(batch, name, it) for name, it in values.items()})
        return found

    def irregular(self) -> list[str]:
        """`stream class` of all irregular facts so far, in order."""
        return [
            f"{STREAMS[row['stream']]} {CLASSES[row['class']]}" for row in self.rows("irregular")
        ]

    def dead_letters(self) -> list[DeadLetter]:
        """All dead letters so far."""
        values = [it.value for it in self.outputs if it.topic == "dead-letters"]
        return [decode_as(DeadLetter, value) for value in values]


def _named(batch: ObservationBatch, name: str, value: Any) -> Any:
    if value == NONE and name in ("context", "metric", "source"):
        return None
    if name in ("context", "shadow_context"):
        return batch.contexts[value]
    if name == "attributes":
        return batch.attributes[value]
    if name in ("metric", "source", "feature", "name"):
        return batch.names[value]
    return value


def requests_of(joiner: Joiner) -> tuple[object, ...]:
    """Every request a joiner remembers, whole, with its deadline, in an order of their own."""
    deadlines_ms, dumped = joiner.state.requests.dump()
    return (deadlines_ms.tolist(), *dumped)
