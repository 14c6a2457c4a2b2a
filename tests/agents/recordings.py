"""A recorded run: input logs, and the outputs that joiners and deciders wrote about them.

Made without agents and clocks, so an audit of it can be tested to the byte, and tampered with.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tests.streams.deciding.world import NAME, spec_of
from tests.streams.logs import Log, Record, feed_all
from tidegate.agents.decider import decider_factory
from tidegate.agents.engine import fingerprint
from tidegate.agents.hosting.host import HandlerFactory
from tidegate.agents.joiner import joiner_factory
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import encode
from tidegate.schemas.events import Control, Outcome, Prediction
from tidegate.schemas.marks import Marker, Tick, marker_headers, tick_headers
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.partitioner import partition_of
from tidegate.schemas.topics import merged_topics
from tidegate.streams.folding import PartitionFold
from tidegate.streams.output import Output

BEGIN_MS = 1_700_000_000_000
TICK_MS = 500
INTERVALS = 60
REQUESTS_PER_INTERVAL = 6
REWARD_WAIT_MS = 3_000

Place = tuple[str, int]
"""Topic without prefix, partition."""


@dataclass
class Recording:
    """Logs of all topics by place; keys are left out, nobody reads them."""

    settings: Settings
    logs: dict[Place, Log] = field(default_factory=lambda: defaultdict(list))

    def write(self) -> None:
        """Write everything to the topics of the settings, which must be empty."""
        producer = new_producer(self.settings)
        for (topic, partition), log in self.logs.items():
            for number, record in enumerate(log):
                value = record if isinstance(record, bytes) else None
                producer.produce(
                    self.settings.topic(topic), value, partition=partition,
                    key=str(number).encode(), headers=_headers(record),
                    timestamp=BEGIN_MS + INTERVALS * TICK_MS,
                )  # fmt: skip
            producer.flush(30)

    def place_of(self, topic: str, name: str) -> Place:
        """Where what is keyed by `name` stands."""
        experiment = topic in ("applied", "control", "decisions", "observations")
        count = self.settings.decision_partitions if experiment else self.settings.partitions
        return topic, partition_of(name.encode(), count)


def record_run(settings: Settings) -> Recording:
    """A flag experiment under traffic: its share is set four times, on growing evidence.

    Two of the partitions are used, of the recording's own `settings`.
    """
    settings = replace(settings, partitions=2, decision_partitions=2)
    recording = Recording(settings)
    _write_traffic(recording)
    observations = _conclude(recording, "joiner", joiner_factory)
    for partition in range(settings.decision_partitions):
        batches = [it.value or b"" for it in observations if it.partition == partition]
        recording.logs["observations", partition] = _with_ticks(batches)
        recording.logs["applied", partition] = [Tick(time_ms) for time_ms in _ticks()]
        recording.logs["control", partition] = [Tick(time_ms) for time_ms in _ticks()]
    recording.logs[recording.place_of("control", NAME)] = _orders()
    for output in _conclude(recording, "decider", decider_factory):
        recording.logs[output.topic, output.partition].append(output.value)
    return recording


def _ticks() -> range:
    return range(BEGIN_MS, BEGIN_MS + INTERVALS * TICK_MS, TICK_MS)


def _write_traffic(recording: Recording) -> None:
    draw = random.Random(1)
    settings, logs = recording.settings, recording.logs
    late: list[tuple[int, str, bytes]] = []
    for number, time_ms in enumerate(_ticks()):
        for topic in merged_topics("joiner"):
            for partition in range(settings.partitions):
                logs[topic.name, partition].append(Tick(time_ms))
        for place in range(REQUESTS_PER_INTERVAL):
            request_id = f"request-{number}-{place}"
            at_ms = time_ms + draw.randrange(TICK_MS)
            logs[recording.place_of("predictions", request_id)].append(
                _prediction(request_id, at_ms, draw)
            )
            if draw.random() < 0.6:
                after_ms = draw.randrange(REWARD_WAIT_MS + 1_000)
                outcome = Outcome(
                    request_id=request_id, outcome_id="o", value=1.0,
                    occurred_at=at_ms + after_ms, metric="conversion",
                )  # fmt: skip
                late.append((at_ms + after_ms, request_id, encode(outcome)))
        for due_ms, request_id, value in sorted(late):
            if due_ms < time_ms + TICK_MS:
                logs[recording.place_of("outcomes", request_id)].append(value)
        late = [each for each in late if each[0] >= time_ms + TICK_MS]


def _prediction(request_id: str, at_ms: int, draw: random.Random) -> bytes:
    variant = draw.choice(("champion", "challenger"))
    return encode(
        Prediction(
            request_id=request_id, unit_id=f"user-{draw.randrange(50)}", served_at=at_ms,
            propensity=0.5, score=draw.random(), latency_ms=12.0, experiment=NAME, generation=1,
            variant=variant, served_variant=variant, model="ranker", model_version="v1",
            routing_epoch=0, routing_version=1, reason="SPLIT", reward_wait_ms=REWARD_WAIT_MS,
            status="OK",
        )
    )  # fmt: skip


def _orders() -> Log:
    log: Log = []
    for number, time_ms in enumerate(_ticks()):
        log.append(Tick(time_ms))
        if number == 2:
            log.append(_order("c0", "APPLY", time_ms, spec=spec_of().to_json()))
        if number in (15, 30, 40, 55):
            share = str(10 * number)
            log.append(_order(f"c{number}", "SET", time_ms, arguments={"challenger": share}))
    return log


def _order(control_id: str, action: str, at_ms: int, **changes: object) -> bytes:
    fields: dict[str, object] = {
        "control_id": control_id, "experiment": NAME, "action": action, "actor": "ann",
        "role": "owner", "reason": "because", "issued_at": at_ms,
    }  # fmt: skip
    return encode(Control(**{**fields, **changes}))  # type: ignore[arg-type]  # checked by encode


def _with_ticks(batches: Iterable[bytes]) -> Log:
    log: Log = []
    due = [(decode_observation(batch).log_time_ms, batch) for batch in batches]
    for time_ms in _ticks():
        log.append(Tick(time_ms))
        # What a joiner tells of this interval is written in it.
        log += [batch for told_ms, batch in due if time_ms - TICK_MS < told_ms <= time_ms]
    return log


def _conclude(recording: Recording, role: str, factory: object) -> list[Output]:
    settings = recording.settings
    make: HandlerFactory = factory(settings, fingerprint(settings))  # type: ignore[operator]
    outputs: list[Output] = []
    topics = merged_topics(role)
    for partition in range(settings.partition_count(topics[0])):
        logs = [recording.logs[topic.name, partition] for topic in topics]
        fold = PartitionFold(partition, len(topics), make(partition, outputs.append))
        feed_all(fold, logs, lambda: 100)
    return outputs


def _headers(record: Record) -> list[tuple[str, bytes]]:
    if isinstance(record, Tick):
        return tick_headers(record.log_time_ms)
    return marker_headers(record) if isinstance(record, Marker) else []
