"""Topics under settings."""

from __future__ import annotations

from dataclasses import replace

from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics, check_topics, plan_topics
from tidegate.infra.brokers import EmbeddedBroker
from tidegate.schemas.topics import TOPICS


def test_settings_decide_names_and_counts(
    embedded_settings: Settings, embedded_broker: EmbeddedBroker
) -> None:
    """Prefix and partition settings apply to the whole table; applying twice does nothing."""
    other = replace(embedded_settings, prefix=embedded_settings.prefix + "x.", partitions=6)
    assert len(plan_topics(other)) == len(TOPICS)
    done = apply_topics(other, embedded_broker)
    counts = {change.wanted.name: change.wanted.partitions for change in done}
    assert counts[other.topic("outcomes")] == 6
    assert counts[other.topic("clock")] == 1
    assert check_topics(other) == []
    assert apply_topics(other, embedded_broker) == []


def test_recorded_input_is_joined_into_fresh_topics(
    embedded_settings: Settings, embedded_broker: EmbeddedBroker
) -> None:
    """With an input prefix the joiner's input is somebody else's, and everything else is new."""
    again = replace(
        embedded_settings,
        prefix=embedded_settings.prefix + "again.",
        input_prefix=embedded_settings.prefix,
    )
    assert again.topic("outcomes") == embedded_settings.topic("outcomes")
    done = apply_topics(again, embedded_broker)
    created = {change.wanted.topic.name for change in done}
    assert created == set(TOPICS) - {"predictions", "shadow-predictions", "outcomes"}
    assert check_topics(again) == []
