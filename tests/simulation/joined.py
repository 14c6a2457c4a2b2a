"""Invariants of the joiners: what they put out is what the oracle says, whatever happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from tests.simulation.invariants import hold
from tests.simulation.oracle import Fact, expected
from tests.simulation.traffic import REQUESTS, digest_of
from tests.simulation.workers import Worker
from tests.simulation.world import JOINED, World
from tidegate.schemas import codec
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import DeadLetter
from tidegate.schemas.facts import CLASSES, STREAMS, ObservationBatch
from tidegate.schemas.observation_reading import decode_observation
from tidegate.streams.folding import PartitionFold
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.output import Output

_NAMES = {digest_of(f"r{number}"): f"r{number}" for number in range(REQUESTS)}
_STREAM_NAMES = {"prediction": "prediction", "shadow": "shadow-prediction", "outcome": "outcome"}

batch_of = lru_cache(4_096)(decode_observation)
"""Decoding is pure and batches are not changed: equal bytes need be read once."""


def check_caps(worker: Worker, settings: JoinerSettings) -> None:
    """I19, after every step: no cap is exceeded."""
    handler = worker.fold.handler
    if isinstance(handler, Joiner):
        requests, waiting = handler.state.requests, handler.state.waiting
        for count, most in (
            (requests.open_count, settings.open_max),
            (requests.closed_count, settings.closed_max),
            (len(waiting), settings.waiting_max),
        ):
            hold("I19", count <= most, count, "of", most)


def check_joined(world: World, partition: int, fold: PartitionFold, outputs: list[Output]) -> None:
    """I1, I2, I13, I14 and I19 of one partition index, from the fold that never crashed."""
    counters = fold.handler.counters()
    hold("I13", all(value >= 0 for value in counters.values()), counters)
    logs = [world.cluster.logs[topic, partition] for topic in JOINED]
    for stream, log in zip(STREAMS, logs, strict=True):
        count = {
            name.partition(".")[2]: n for name, n in counters.items() if name.startswith(stream)
        }
        arrived = sum(entry.mark is None for entry in log.entries)
        hold("I14", count.pop("input") == arrived, stream, count, "of", arrived)
        hold("I14", sum(count.values()) == arrived, stream, count, "of", arrived)
        for name, number in count.items():
            world.seen[f"class: {stream} {name}"] += number
    found = facts_in(_recorded(world, partition), partition)
    once = {fact: n for fact, n in found.items() if fact[0] == "matched" and n > 1}
    wanted = expected(logs, world.config.joining, fold.log_time_ms)
    hold("I1", all(n <= wanted[fact] for fact, n in once.items()), once)
    letters = _letters(outputs)
    world.seen.update(f"dead letter: {reason}" for reason, _, _ in letters)
    found.update(("dead letter", rank, offset) for _, rank, offset in letters)
    given_up = {fact: n for fact, n in found.items() if fact[0] == "expired"}
    hold("I19", all(n <= wanted[fact] for fact, n in given_up.items()), given_up)
    if found != wanted:
        hold("I2", False, "lost", +(wanted - found), "invented", +(found - wanted))


def _recorded(world: World, partition: int) -> Iterable[ObservationBatch]:
    """The batches of a source partition as a reader takes them: each number once, in order."""
    first: dict[int, bytes] = {}
    for entry in world.cluster.logs["observations", 0].entries:
        if entry.value is None or entry.mark is not None:
            continue
        try:
            batch = batch_of(entry.value)
        except EventError:
            continue
        if batch.source_partition == partition:
            kept = first.setdefault(batch.sequence, entry.value)
            hold("I4", kept == entry.value, "two contents of batch", batch.sequence)
    hold("I2", sorted(first) == list(range(len(first))), "batches", sorted(first))
    return [batch_of(first[sequence]) for sequence in sorted(first)]


def _letters(outputs: list[Output]) -> list[tuple[str, int, int]]:
    letters = [
        codec.decode_as(DeadLetter, item.value) for item in outputs if item.topic == "dead-letters"
    ]
    return [(letter.reason, JOINED.index(letter.topic), letter.offset) for letter in letters]


def facts_in(batches: Iterable[ObservationBatch], partition: int) -> Counter[Fact]:
    """Facts of batches in the oracle's words."""
    found: Counter[Fact] = Counter()
    for batch in batches:
        tables = batch.tables
        for kind in ("exposure", "shadow", "matched", "closed", "irregular"):
            if batch.count(kind):
                _READERS[kind](found, batch, {
                    name: column.tolist() for name, column in tables[kind].items()
                })  # fmt: skip
    return found


Columns = dict[str, list[Any]]


def _exposures(found: Counter[Fact], batch: ObservationBatch, columns: Columns) -> None:
    found.update(("exposure", _NAMES[request]) for request in columns["request"])


def _shadows(found: Counter[Fact], batch: ObservationBatch, columns: Columns) -> None:
    pairs = zip(columns["request"], columns["agree"], strict=True)
    found.update(("shadow", _NAMES[request], agree) for request, agree in pairs)


def _matched(found: Counter[Fact], batch: ObservationBatch, columns: Columns) -> None:
    rows = zip(columns["request"], columns["metric"], columns["value"], strict=True)
    found.update(
        ("matched", _NAMES[request], batch.names[metric], value) for request, metric, value in rows
    )


def _closed(found: Counter[Fact], batch: ObservationBatch, columns: Columns) -> None:
    metrics = {name: column.tolist() for name, column in batch.tables["closed_metric"].items()}
    summaries: dict[int, list[Any]] = {}
    for place, row in enumerate(metrics["row"]):
        summaries.setdefault(row, []).append((batch.names[metrics["metric"][place]], *(
            metrics[name][place] for name in ("count", "first", "last", "sum", "min", "max")
        )))  # fmt: skip
    shadows: dict[int, list[Any]] = {}
    scored = {name: column.tolist() for name, column in batch.tables["closed_shadow"].items()}
    for row, context, score, shadow_score in zip(*scored.values(), strict=True):
        variant = batch.contexts[context].variant
        shadows.setdefault(row, []).append(("shadow", variant, shadow_score, score))
    for row, request in enumerate(columns["request"]):
        hanging = (*sorted(summaries.get(row, [])), *sorted(shadows.get(row, [])))
        found["closed", _NAMES[request], *hanging] += 1


def _irregular(found: Counter[Fact], batch: ObservationBatch, columns: Columns) -> None:
    for kind, stream, request in zip(
        columns["class"], columns["stream"], columns["request"], strict=True
    ):
        found[CLASSES[kind], _STREAM_NAMES[STREAMS[stream]], _NAMES[request]] += 1


_READERS = {
    "exposure": _exposures, "shadow": _shadows, "matched": _matched, "closed": _closed,
    "irregular": _irregular,
}  # fmt: skip
