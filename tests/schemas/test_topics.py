"""The topics table is complete: whoever reads it knows where every record goes."""

from __future__ import annotations

from importlib.resources import files

import pytest

from tidegate.schemas.catalogue import released
from tidegate.schemas.events import EVENTS
from tidegate.schemas.topics import TOPICS, merged_topics, partition_count


@pytest.mark.parametrize("name", sorted(TOPICS))
def test_a_topic_has_schema_example_producer_and_consumer(name: str) -> None:
    """No topic without someone who writes it, someone who reads it, and one real message."""
    topic = TOPICS[name]
    assert topic.name == name
    assert topic.producers
    assert topic.consumers
    if topic.schema is not None:
        version = released()[topic.schema][-1].version
        example = files("tidegate.schemas") / "examples" / f"{topic.schema}.v{version}.json"
        assert example.is_file()


def test_every_event_says_its_topic() -> None:
    """The docstring of an event names the topic its schema belongs to."""
    for topic in TOPICS.values():
        if topic.schema is not None and topic.schema in EVENTS:
            assert f"`{topic.name}`" in (EVENTS[topic.schema].__doc__ or "")


@pytest.mark.parametrize("role", ["joiner", "decider"])
def test_a_merge_has_dense_ranks_and_one_partition_count(role: str) -> None:
    """Merged topics are co-partitioned, ticked, never compacted, and ranked 0, 1, 2, ..."""
    merged = merged_topics(role)
    assert [topic.rank for topic in merged] == list(range(len(merged)))
    assert len({topic.count for topic in merged}) == 1
    assert all(topic.ticks and topic.cleanup == "delete" for topic in merged)


@pytest.mark.parametrize(
    ("name", "count"), [("predictions", 6), ("routing", 3), ("snapshots", 6), ("dead-letters", 1)]
)
def test_partition_counts_follow_the_settings(name: str, count: int) -> None:
    """`all` is the larger of the two settings, `one` is 1."""
    assert partition_count(TOPICS[name], 6, 3) == count


def test_outcomes_outlive_the_longest_window() -> None:
    """An audit needs the inputs for as long as the decisions that rest on them can be asked for."""
    kept = {TOPICS[name].retention_ms for name in ("predictions", "outcomes", "observations")}
    assert len(kept) == 1
