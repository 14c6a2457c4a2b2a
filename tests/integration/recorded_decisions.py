"""A recorded control, applied and observations log for many deciders, and what it must give.

A candidate passes through shadow, canary and bandit and serves everybody. Then a person applies
one generation after another of a candidate that fails and is rolled back. Seeded, made without a
broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Producer

from tests.simulation.loop import PARTITIONS, START_MS, Variant
from tests.simulation.test_loop import BANDIT, CANARY, FULL, SHADOW, path, spec_of, started
from tidegate.agents.decider import decider_factory
from tidegate.agents.engine import fingerprint
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.marks import Tick, tick_headers
from tidegate.schemas.topics import merged_topics
from tidegate.streams.folding import PartitionFold
from tidegate.streams.merge import Fetched
from tidegate.streams.output import Output

_STORY_MS = 120_000
_GENERATIONS = 5
_GENERATION_MS = 30_000
SOURCES, HOMES = PARTITIONS, 2
"""How many partitions the story's input topics and its decider's topics have. The experiment lives
in the first of the latter; the other one has ticks alone, so that there is something to move."""

Place = tuple[int, int]
"""Rank of the topic, partition."""


@dataclass(frozen=True, slots=True)
class RecordedDecisions:
    """`logs` by place; `expected` is what deciders of the settings' engine conclude, partition by
    partition and in order."""

    logs: Mapping[Place, list[bytes | Tick]]
    expected: tuple[Output, ...]

    def write(self, settings: Settings) -> None:
        """Write the logs to the merged topics of these settings, which must be empty."""
        producer = new_producer(settings)
        topics = merged_topics("decider")
        for (rank, partition), log in self.logs.items():
            for item in log:
                _put(producer, settings.topic(topics[rank].name), partition, item)
        assert producer.flush(60) == 0, "the broker did not take the recorded logs"


def record(settings: Settings) -> RecordedDecisions:
    """Play the story, then fold its logs with the engine of `settings`."""
    simulation = started(Variant(conversion=0.3), SHADOW, CANARY, BANDIT, FULL, rate=25)
    assert simulation.run(_STORY_MS, simulation.has_decided("FINISH"))
    in_force = spec_of(SHADOW, CANARY, BANDIT, FULL)
    simulation.models = {**simulation.models, "challenger": Variant(error=0.3)}
    for generation in range(_GENERATIONS):
        # Another length of the canary, so that there is something new to apply.
        canary = {"canary": {**CANARY["canary"], "hold": f"{5 + generation}s"}}
        following = spec_of(canary, FULL)
        simulation.order("APPLY", following, parent=in_force.digest())
        in_force = following
        simulation.run(_GENERATION_MS)
    assert path(simulation).count("ROLLBACK") == _GENERATIONS
    logs: dict[Place, list[bytes | Tick]] = {}
    for topic in merged_topics("decider"):
        entries = simulation.logs[topic.name, 0].entries
        logs[topic.rank, 0] = [item for item in entries if isinstance(item, bytes | Tick)]
        logs[topic.rank, 1] = [item for item in entries if isinstance(item, Tick)]
    return RecordedDecisions(logs, tuple(_conclude(settings, logs)))


def _conclude(settings: Settings, logs: Mapping[Place, list[bytes | Tick]]) -> list[Output]:
    outputs: list[Output] = []
    make = decider_factory(settings, fingerprint(settings))
    topics = merged_topics("decider")
    for partition in range(HOMES):
        fold = PartitionFold(partition, len(topics), make(partition, outputs.append))
        for topic in topics:
            fold.feed(topic.rank, _whole(logs[topic.rank, partition]))
        fold.drain()
    return outputs


def _whole(log: list[bytes | Tick]) -> Fetched:
    return Fetched(
        0,
        [item if isinstance(item, bytes) else None for item in log],
        [(index, item) for index, item in enumerate(log) if isinstance(item, Tick)],
        lambda index: START_MS,
    )


def _put(producer: Producer, topic: str, partition: int, item: bytes | Tick) -> None:
    value = item if isinstance(item, bytes) else None
    headers = tick_headers(item.log_time_ms) if isinstance(item, Tick) else []
    while True:
        try:
            producer.produce(topic, value, partition=partition, headers=headers)
            break
        except BufferError:
            producer.poll(0.1)
    producer.poll(0)
