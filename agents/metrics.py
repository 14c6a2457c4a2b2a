"""Prometheus metrics: every name once, with its meaning; values are read when asked for.

Nothing is counted per record here: the folds count for themselves, and a scrape reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

MetricName = Literal[
    "tidegate_alert_failures_total",
    "tidegate_alerts_total",
    "tidegate_checkpoint_conflicts_total",
    "tidegate_checkpoint_pause_seconds_total",
    "tidegate_checkpoint_write_seconds_total",
    "tidegate_checkpoint_written_bytes_total",
    "tidegate_checkpoints_total",
    "tidegate_clock_offset_seconds",
    "tidegate_counted_total",
    "tidegate_dead_letters_total",
    "tidegate_decisions_total",
    "tidegate_engine_info",
    "tidegate_facts_total",
    "tidegate_fetch_pauses_total",
    "tidegate_fetched_records_total",
    "tidegate_fetches_dropped_total",
    "tidegate_group_errors_total",
    "tidegate_healthy",
    "tidegate_lag_records",
    "tidegate_live_partitions",
    "tidegate_misplaced_keys_total",
    "tidegate_outputs_acknowledged_total",
    "tidegate_outputs_total",
    "tidegate_partitions",
    "tidegate_pending",
    "tidegate_released_records_total",
    "tidegate_remembered_requests",
    "tidegate_sampled_keys_total",
    "tidegate_skipped_offsets_total",
    "tidegate_tick_age_seconds",
    "tidegate_ticks_failed_total",
    "tidegate_ticks_total",
    "tidegate_variant_counted_total",
    "tidegate_variant_pending",
]


@dataclass(frozen=True, slots=True)
class Meaning:
    """Help text and label names of a metric."""

    help: str
    labels: tuple[str, ...] = ()


_VARIANT = ("experiment", "generation", "variant", "stream")

MEANINGS: Mapping[MetricName, Meaning] = {
    "tidegate_alert_failures_total": Meaning(
        "Tries that did not deliver an alert to all addresses."
    ),
    "tidegate_alerts_total": Meaning(
        "Alerts by what became of them: told, given_up, repeated.", ("result",)
    ),
    "tidegate_checkpoint_conflicts_total": Meaning(
        "Equal cuts with different states: workers have diverged."
    ),
    "tidegate_checkpoint_pause_seconds_total": Meaning(
        "Time for which dumps of state stopped the fold."
    ),
    "tidegate_checkpoint_write_seconds_total": Meaning(
        "Time from cut to announced checkpoint, beside the work."
    ),
    "tidegate_checkpoint_written_bytes_total": Meaning("Compressed checkpoints written."),
    "tidegate_checkpoints_total": Meaning("Checkpoints announced."),
    "tidegate_clock_offset_seconds": Meaning(
        "Broker's append time minus this host's clock, when last compared."
    ),
    "tidegate_counted_total": Meaning(
        "What became of the records of a stream since the log began.",
        ("partition", "stream", "class"),
    ),
    "tidegate_dead_letters_total": Meaning(
        "Records that could not be counted, by reason, since the process began.", ("reason",)
    ),
    "tidegate_decisions_total": Meaning("Decisions since the log began.", ("partition",)),
    "tidegate_engine_info": Meaning("Engine of this worker.", ("role", "engine")),
    "tidegate_facts_total": Meaning(
        "Facts the joiner put out since the log began.", ("partition",)
    ),
    "tidegate_fetch_pauses_total": Meaning(
        "Times a topic-partition was paused because its buffer was full."
    ),
    "tidegate_fetched_records_total": Meaning(
        "Records handed to the fold's host."
    ),
    "tidegate_fetches_dropped_total": Meaning(
        "Fetches dropped because the group had changed; read again."
    ),
    "tidegate_group_errors_total": Meaning(
        "Errors of the consumer group that were got over."
    ),
    "tidegate_healthy": Meaning("1 when /healthz is green."),
    "tidegate_lag_records": Meaning("Records not yet fed to the fold.", ("topic", "partition")),
    "tidegate_live_partitions": Meaning("Partitions that have caught up since they came here."),
    "tidegate_misplaced_keys_total": Meaning(
        "Sampled keys in a partition murmur2 would not have chosen."
    ),
    "tidegate_outputs_acknowledged_total": Meaning(
        "Outputs acknowledged by the broker.", ("partition",)
    ),
    "tidegate_outputs_total": Meaning("Outputs handed to the producer.", ("partition",)),
    "tidegate_partitions": Meaning("Partitions owned."),
    "tidegate_pending": Meaning(
        "Records of a stream whose class is not known yet.", ("partition", "stream")
    ),
    "tidegate_released_records_total": Meaning(
        "Records the fold has released since the log began.", ("partition",)
    ),
    "tidegate_remembered_requests": Meaning(
        "Closed requests that are still told apart from new ones.", ("partition",)
    ),
    "tidegate_sampled_keys_total": Meaning("Keys whose partition was checked."),
    "tidegate_skipped_offsets_total": Meaning(
        "Offsets passed over because a person accepted their loss.", ("topic", "partition")
    ),
    "tidegate_tick_age_seconds": Meaning("Clock minus log time."),
    "tidegate_ticks_failed_total": Meaning("Ticks and markers not delivered in time."),
    "tidegate_ticks_total": Meaning("Ticks and markers delivered."),
    "tidegate_variant_counted_total": Meaning(
        "What became of a variant's records since its generation began.", (*_VARIANT, "class")
    ),
    "tidegate_variant_pending": Meaning("Requests of a variant that are still open.", _VARIANT),
}
_ALONE: Mapping[str, MetricName] = {
    "facts": "tidegate_facts_total",
    "closed": "tidegate_remembered_requests",
    "decisions": "tidegate_decisions_total",
}
"""Counters of folds that are no class of a stream."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one metric; `labels` in the order the metric names them."""

    name: MetricName
    value: float
    labels: tuple[str, ...] = ()


class Metrics:
    """A registry over one function that reads everything at once."""

    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Every family there may be; the registry asks at its start, when nothing can be read."""
        yield from map(_family, MEANINGS)

    def collect(self) -> Iterator[Metric]:
        """Families for a scrape."""
        families: dict[MetricName, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self._read():
            family = families.get(sample.name)
            if family is None:
                family = families[sample.name] = _family(sample.name)
            family.add_metric(sample.labels, sample.value)
        yield from families.values()

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry)


def fold_samples(partition: int, counters: Mapping[str, int]) -> Iterator[Sample]:
    """Counters of a fold, named as in `Handler.counters`; what is `pending` may fall."""
    for name, count in sorted(counters.items()):
        if name in _ALONE:
            yield Sample(_ALONE[name], count, (str(partition),))
            continue
        *variant, rest = name.split("/")
        stream, _, kind = rest.partition(".")
        if variant and kind == "pending":
            yield Sample("tidegate_variant_pending", count, (*variant, stream))
        elif variant:
            yield Sample("tidegate_variant_counted_total", count, (*variant, stream, kind))
        elif kind == "pending":
            yield Sample("tidegate_pending", count, (str(partition), stream))
        else:
            yield Sample("tidegate_counted_total", count, (str(partition), stream, kind))


def _family(name: MetricName) -> CounterMetricFamily | GaugeMetricFamily:
    meaning = MEANINGS[name]
    if name.endswith("_total"):
        return CounterMetricFamily(name, meaning.help, labels=meaning.labels)
    return GaugeMetricFamily(name, meaning.help, labels=meaning.labels)
