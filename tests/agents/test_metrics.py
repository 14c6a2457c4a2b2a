"""Metrics: every name has a meaning, and Prometheus's own linter finds nothing."""

from __future__ import annotations

import shutil
import subprocess
from typing import get_args

import pytest

from tests.agents.counting import ROOT
from tidegate.agents import metrics
from tidegate.agents.metrics import MetricName, Metrics, Sample, fold_samples


def everything() -> list[Sample]:
    """One sample of each metric."""
    return [
        Sample(name, 1.0, tuple(f"{label}-1" for label in metrics.MEANINGS[name].labels))
        for name in get_args(MetricName)
    ]


def test_every_name_has_a_meaning() -> None:
    """The list of names and the table of meanings are the same set."""
    assert set(get_args(MetricName)) == set(metrics.MEANINGS)


def test_values_appear_under_name_and_labels() -> None:
    """What is read is what is scraped."""
    samples = [Sample("tidegate_lag_records", 7, ("outcomes", "2")), Sample("tidegate_healthy", 1)]
    text = Metrics(lambda: samples).text().decode()
    assert 'tidegate_lag_records{partition="2",topic="outcomes"} 7.0' in text
    assert "tidegate_healthy 1.0" in text


def test_counters_of_a_fold_become_samples() -> None:
    """`stream.class` becomes two labels, a variant three more; what is pending is a gauge, and so
    is what is remembered; what is no class of a stream has a name of its own."""
    counters = {
        "outcome.late": 2, "outcome.pending": 5, "facts": 1, "closed": 4, "decisions": 6,
        "ranker/2/a.b/outcome.late": 7, "ranker/2/a.b/prediction.pending": 8,
    }  # fmt: skip
    assert sorted(fold_samples(3, counters), key=lambda sample: sample.value) == [
        Sample("tidegate_facts_total", 1, ("3",)),
        Sample("tidegate_counted_total", 2, ("3", "outcome", "late")),
        Sample("tidegate_remembered_requests", 4, ("3",)),
        Sample("tidegate_pending", 5, ("3", "outcome")),
        Sample("tidegate_decisions_total", 6, ("3",)),
        Sample("tidegate_variant_counted_total", 7, ("ranker", "2", "a.b", "outcome", "late")),
        Sample("tidegate_variant_pending", 8, ("ranker", "2", "a.b", "prediction")),
    ]


def test_names_follow_the_conventions() -> None:
    """Base units at the end; counters, and only they, end in _total."""
    for name in get_args(MetricName):
        unit = name.removesuffix("_total").rsplit("_", 1)[-1]
        assert unit not in {"ms", "milliseconds", "kb", "percent"}, name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (package prometheus)")
def test_promtool_finds_nothing() -> None:
    """`promtool check metrics` on one sample of everything."""
    text = Metrics(everything).text()
    found = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_the_documented_metrics_are_these() -> None:
    """The table in docs/workers.md is what can be scraped."""
    text = (ROOT / "docs" / "workers.md").read_text()
    for name, meaning in metrics.MEANINGS.items():
        labels = ", ".join(f"`{label}`" for label in meaning.labels)
        assert f"| `{name}` | {labels} | {meaning.help} |\n" in text
