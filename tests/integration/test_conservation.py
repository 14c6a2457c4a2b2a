"""What becomes of every record, told while it happens: by metrics and by `tidegate get`."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.agents.commands.recorded import run
from tests.agents.waiting import wait_for
from tests.integration.test_show import Logs
from tests.integration.test_truth_table import samples, scraped
from tests.integration.world import PATIENCE_SECONDS, World, with_short_horizons
from tests.streams.deciding.world import NAME
from tests.streams.joining.traffic import outcome, prediction, shadow
from tidegate.agents.kafka import new_producer
from tidegate.agents.settings import Settings
from tidegate.schemas.partitioner import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

WAIT_MS = 4_000
ROLES = ("ticker", "joiner", "decider")
MANY = 256
"""Outcomes that a request may have."""
MANIFEST = f"""
apiVersion: tidegate.dev/v1
kind: Experiment
metadata: {{name: {NAME}}}
spec:
  unit: {{key: user}}
  control: champion
  variants:
    champion: {{model: ranker, version: v1}}
    steady:   {{model: ranker, version: v2}}
  metrics:
    click: {{type: binary, aggregate: first, window: 4s, default: 0, goal: increase}}
  objective: click
  flag: {{}}
"""


@dataclass
class Book:
    """What is sent, and what must become of it: by partition for all, by variant where one is."""

    settings: Settings
    by_partition: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_variant: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def send(self, stream: str, key: str, value: bytes, fate: str, variant: str = "") -> None:
        """A record, and its class; `variant` when it is told of one."""
        topic = {"prediction": "predictions", "shadow": "shadow-predictions"}.get(
            stream, "outcomes"
        )
        partition = partition_of(key.encode(), self.settings.partitions)
        self._producer.produce(self.settings.topic(topic), value, key, partition)
        self._producer.poll(0)
        for name in (f"{stream}.input", f"{stream}.{fate}"):
            self.by_partition[str(partition)][name] += 1
            if variant:
                self.by_variant[variant][name] += 1

    def __post_init__(self) -> None:
        self._producer = new_producer(self.settings, {"linger.ms": 0})

    def flush(self) -> None:
        """All of it is in the logs."""
        assert self._producer.flush(30) == 0


def send_every_class(book: Book, number: int, variant: str, now_ms: int) -> None:
    """A request of a variant, and one record of every class that there can be beside it."""
    name = f"request-{number}"

    def predict(fate: str, **changes: object) -> None:
        fields = {"experiment": NAME, "variant": variant, "served_variant": variant, **changes}
        value = prediction(name, now_ms, WAIT_MS, **fields)
        book.send("prediction", name, value, fate, variant)

    def hear(fate: str, value: float = 1.0, outcome_id: str = "o", after_ms: int = 1) -> None:
        record = outcome(name, now_ms + after_ms, value, outcome_id)
        book.send("outcome", name, record, fate, variant)

    predict("counted")
    predict("duplicate")
    predict("conflict", unit_id="somebody else")
    hear("counted")
    hear("duplicate")
    hear("conflict", value=0.0)
    hear("late", outcome_id="late", after_ms=WAIT_MS)
    for place in range(1, MANY):
        hear("counted", outcome_id=f"o-{place}")
    hear("expired", outcome_id="one too many")
    book.send("outcome", name, b"no outcome at all", "dead_lettered")
    book.send("outcome", f"nobody-{number}", outcome(f"nobody-{number}", now_ms), "orphan")
    for fate, score in (("counted", 0.5), ("duplicate", 0.5), ("conflict", 0.25)):
        other = f"shadowed-{number}"
        if fate == "counted":
            value = prediction(
                other, now_ms, WAIT_MS, experiment=NAME, variant=variant, served_variant=variant
            )
            book.send("prediction", other, value, "counted", variant)
        shadowed = "steady" if fate == "counted" else variant
        value = shadow(other, now_ms, experiment=NAME, variant="steady", score=score)
        book.send("shadow", other, value, fate, shadowed)


def test_every_record_is_told_exactly(
    kafka_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of all records by partition (the joiner's metrics), of those with a prediction by variant
    (the decider's metrics and `tidegate get`): the same numbers, and they are those sent."""
    settings = with_short_horizons(kafka_settings)
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    book, logs = Book(settings), Logs(settings)
    with ExitStack() as stack:
        # A log for each, so that each one's metrics are found.
        ticking, joining, deciding = (
            stack.enter_context(World(settings, tmp_path / f"{role}.log")) for role in ROLES
        )
        for world, role in zip((ticking, joining, deciding), ROLES, strict=True):
            world.start(role)
        wait_for(lambda: any(mark > 0 for _, mark in logs.beats()), PATIENCE_SECONDS)
        assert run(settings, capsys, "apply", "-f", str(manifest)).code == 0
        now_ms = time.time_ns() // 1_000_000
        for number in range(12):
            send_every_class(book, number, ("champion", "steady")[number % 3 == 0], now_ms)
        book.flush()
        wait_for(lambda: scraped(joining) == book.by_partition, PATIENCE_SECONDS)

        def told() -> dict[str, Counter[str]]:
            view = run(settings, capsys, "get", NAME, "-o", "json").json["view"]
            return {item["name"]: flat(item["counts"]) for item in view["variants"]}

        wait_for(lambda: told() == book.by_variant, PATIENCE_SECONDS)
        assert by_variant(deciding) == book.by_variant
    assert {name.split(".")[1] for name in book.by_variant["steady"]} == {
        "input", "counted", "duplicate", "conflict", "late", "expired"
    }  # fmt: skip


def flat(counts: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    """`stream.class` of what a variant's `counts` say."""
    return +Counter(
        {f"{stream}.{kind}": n for stream, kinds in counts.items() for kind, n in kinds.items()}
    )


def by_variant(deciding: World) -> dict[str, Counter[str]]:
    """`stream.class` by variant, as the decider's metrics tell it."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples(deciding):
        labels = sample.labels
        if sample.name in ("tidegate_variant_counted_total", "tidegate_variant_pending"):
            assert (labels["experiment"], labels["generation"]) == (NAME, "1")
            kind = labels.get("class", "pending")
            found[labels["variant"]][f"{labels['stream']}.{kind}"] += int(sample.value)
    return {variant: +counts for variant, counts in found.items()}
