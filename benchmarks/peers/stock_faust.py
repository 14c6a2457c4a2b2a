"""The join as Faust's documentation teaches it: models, an agent per topic, tables, a timer.

Tables are changelogged, so this one survives a restart, as far as stock Faust does.
"""

from __future__ import annotations

import os
import sys
import time
from io import BytesIO
from typing import Any

import faust
from fastavro import schemaless_reader
from faust.serializers import codecs

from benchmarks.cluster import Stopwatch
from benchmarks.peers.job import Job, in_window
from tidegate.schemas import catalogue

JOB = Job.from_environment()
_HEAD_BYTES = 10
_IDLE_SECONDS = 5.0


class SingleObject(codecs.Codec):
    """Avro's single-object encoding, read by fastavro."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(**options)
        self._schema = catalogue.latest(name).parsed

    def _loads(self, s: bytes) -> Any:
        return schemaless_reader(BytesIO(s[_HEAD_BYTES:]), self._schema, None)


for _name in ("prediction", "shadow-prediction", "outcome"):
    codecs.register(f"avro_{_name}", SingleObject(_name))


class Prediction(faust.Record, serializer="avro_prediction"):  # type: ignore[call-arg]  # Faust publishes no types
    """What the join needs of a prediction; Faust ignores other fields."""

    request_id: str
    experiment: str
    variant: str
    served_at: int


class Shadow(faust.Record, serializer="avro_shadow-prediction"):  # type: ignore[call-arg]  # Faust publishes no types
    """What the join needs of a shadow prediction."""

    request_id: str
    variant: str
    served_at: int
    score: float


class Outcome(faust.Record, serializer="avro_outcome"):  # type: ignore[call-arg]  # Faust publishes no types
    """What the join needs of an outcome."""

    request_id: str
    metric: str
    value: float
    occurred_at: int


app = faust.App(
    JOB.group,
    broker=f"kafka://{JOB.bootstrap}",
    store="memory://",
    topic_partitions=JOB.partitions,
    topic_replication_factor=1,
    datadir=os.environ["PEER_STATE"],
    web_enabled=False,
)


def _topic(name: str, model: Any, serializer: str) -> Any:
    return app.topic(
        name, key_type=str, key_serializer="raw", value_type=model, value_serializer=serializer,
        allow_empty=True,
    )  # fmt: skip


predictions = _topic(JOB.topics[0], Prediction, "avro_prediction")
shadows = _topic(JOB.topics[1], Shadow, "avro_shadow-prediction")
outcomes = _topic(JOB.topics[2], Outcome, "avro_outcome")
output = app.topic(JOB.output, value_serializer="json", key_type=str, key_serializer="raw")
pending = app.Table("pending", partitions=JOB.partitions)
early = app.Table("early", partitions=JOB.partitions)
aggregates = app.Table("aggregates", partitions=JOB.partitions)

changed: set[str] = set()
measured = {"events": 0, "pairs": 0, "last": 0.0}
watch = Stopwatch()


def note() -> None:
    """Count an event."""
    watch.work()
    measured["last"] = time.time()
    measured["events"] += 1


def add(partition: int, experiment: str, variant: str, metric: str, value: float) -> None:
    """Count a pair."""
    key = f"{experiment}|{variant}|{metric}|{partition}"
    count, total, squares = aggregates.get(key) or [0, 0.0, 0.0]
    aggregates[key] = [count + 1, total + value, squares + value * value]
    changed.add(key)
    measured["pairs"] += 1


def join(event: Any, at_ms: int, variant: str, metric: str, value: float) -> None:
    """Join what is not a prediction."""
    key = event.value.request_id
    found = pending.get(key)
    if found is None:
        early[key] = [*(early.get(key) or []), [at_ms, variant, metric, value]]
    elif in_window(at_ms - found[0]):
        add(event.message.partition, found[1], variant or found[2], metric, value)
    note()


@app.agent(predictions)
async def on_prediction(stream: Any) -> None:
    """Remember a prediction; join what came before it."""
    async for event in stream.events():
        found = event.value
        if found is None:
            continue
        pending[found.request_id] = [found.served_at, found.experiment, found.variant]
        waiting = early.get(found.request_id)
        if waiting:
            for at_ms, variant, metric, value in waiting:
                if in_window(at_ms - found.served_at):
                    add(
                        event.message.partition, found.experiment, variant or found.variant,
                        metric, value,
                    )  # fmt: skip
            early.pop(found.request_id)
        note()


@app.agent(shadows)
async def on_shadow(stream: Any) -> None:
    """Join a shadow prediction."""
    async for event in stream.events():
        if event.value is not None:
            join(event, event.value.served_at, event.value.variant, "score", event.value.score)


@app.agent(outcomes)
async def on_outcome(stream: Any) -> None:
    """Join an outcome."""
    async for event in stream.events():
        if event.value is not None:
            join(event, event.value.occurred_at, "", event.value.metric, event.value.value)


@app.timer(1.0)
async def publish() -> None:
    """Publish what changed; when all events are read, or none come any more, say so and end."""
    keys = list(changed)
    changed.clear()
    for key in keys:
        await output.send(key=key.encode(), value=aggregates.get(key))
    done = measured["events"] >= JOB.events
    if done or (measured["last"] and time.time() - measured["last"] > _IDLE_SECONDS):
        watch.say(int(measured["events"]), int(measured["pairs"]))
        os._exit(0)


if __name__ == "__main__":
    sys.argv = ["peer", "worker", "-l", "warn", "--without-web"]
    app.main()
