"""Topics: what is wanted, what is there, what mends the difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tidegate.infra.topics import (
    FoundTopic,
    WantedTopic,
    check,
    plan,
    wanted_topics,
)

WANTED = wanted_topics("t.", partitions=4, decision_partitions=2, replication=1)


def found(**changes: FoundTopic | None) -> dict[str, FoundTopic]:
    """All topics as wanted, but for `changes` by name with underscores; None takes one away."""
    complete = {each.name: FoundTopic(each.partitions, each.settings) for each in WANTED}
    for name, there in changes.items():
        full = "t." + name.replace("_", "-")
        del complete[full]
        if there is not None:
            complete[full] = there
    return complete


def wanted(name: str) -> WantedTopic:
    """The wanted topic of this name."""
    return next(each for each in WANTED if each.topic.name == name)


def with_settings(name: str, **settings: str) -> FoundTopic:
    """A topic as wanted, but for settings by name with underscores."""
    changed = {key.replace("_", "."): value for key, value in settings.items()}
    return FoundTopic(wanted(name).partitions, {**wanted(name).settings, **changed})


def faults_of(there: Mapping[str, FoundTopic]) -> list[str]:
    """The faults as people read them."""
    return [str(fault) for fault in check(WANTED, there)]


def test_nothing_is_wrong_when_all_is_as_wanted() -> None:
    """A cluster that has the table has no faults and needs no change."""
    assert check(WANTED, found()) == []
    assert plan(WANTED, found()) == []


def test_a_missing_topic_is_named_with_its_remedy() -> None:
    """A missing topic is a fault, and the plan creates it."""
    there = found(outcomes=None)
    assert faults_of(there) == ["t.outcomes: is missing; run `tidegate topics apply`"]
    [change] = plan(WANTED, there)
    assert str(change).startswith("create t.outcomes with 4 partitions (cleanup.policy=delete")


def test_an_input_must_not_be_compacted() -> None:
    """Compaction would remove records that are still counted."""
    there = found(outcomes=with_settings("outcomes", cleanup_policy="compact"))
    [fault] = faults_of(there)
    assert fault.startswith("t.outcomes: is compacted and must not be")
    [change] = plan(WANTED, there)
    assert str(change) == "change t.outcomes: cleanup.policy=delete"


def test_the_tables_of_weights_must_be_compacted() -> None:
    """What new clients read whole must not fall out of retention."""
    there = found(routing=with_settings("routing", cleanup_policy="delete"))
    assert "has cleanup.policy=delete, must be compact" in faults_of(there)[0]


def test_the_clock_topic_shows_the_brokers_time() -> None:
    """The ticker compares itself with append times, which producers must not be able to set."""
    assert wanted("clock").settings["message.timestamp.type"] == "LogAppendTime"
    assert wanted("outcomes").settings["message.timestamp.type"] == "CreateTime"
    # A host whose clock is a day ahead can still write.
    assert int(wanted("outcomes").settings["message.timestamp.after.max.ms"]) > 86_400_000


@pytest.mark.parametrize(
    ("settings", "faulty"),
    [
        ({"retention_ms": "1000"}, True),
        ({"retention_ms": "-1"}, False),
        ({"retention_ms": "99999999999"}, False),
        ({"max_message_bytes": "1000"}, True),
        ({"max_message_bytes": "99999999"}, False),
    ],
)
def test_more_than_asked_for_is_no_fault(settings: dict[str, str], faulty: bool) -> None:
    """Operators may keep longer and allow larger records, never less."""
    there = found(outcomes=with_settings("outcomes", **settings))
    assert bool(check(WANTED, there)) is faulty


def test_wrong_and_unequal_partitions_are_both_named() -> None:
    """A merge needs equal counts: the fault names all its topics and what to set or delete."""
    there = found(outcomes=FoundTopic(8, wanted("outcomes").settings))
    wrong, unequal = faults_of(there)
    assert wrong.startswith("t.outcomes: has 8 partitions, not 4; set `partitions: 8`, or delete")
    assert "t.predictions 4, t.shadow-predictions 4, t.outcomes 8" in unequal


def test_a_topic_of_one_partition_can_only_be_made_again() -> None:
    """No setting gives the clock topic more than one partition."""
    there = found(clock=FoundTopic(3, None))
    assert faults_of(there) == [
        "t.clock: has 3 partitions, not 1; delete the topic and run `tidegate topics apply`"
    ]


def test_unknown_settings_are_no_fault() -> None:
    """Of a cluster that tells no settings, presence and counts are what can be checked."""
    there = {each.name: FoundTopic(each.partitions, None) for each in WANTED}
    assert check(WANTED, there) == []


def test_three_copies_need_two_in_step() -> None:
    """With three replicas a record is acknowledged by two, so one node may fail."""
    replicated = wanted_topics("t.", 4, 2, replication=3)
    assert {each.settings["min.insync.replicas"] for each in replicated} == {"2"}


def test_a_plan_can_be_read() -> None:
    """Each change is one line that says what happens to which topic."""
    change = replace(plan(WANTED, {})[0], settings={"cleanup.policy": "delete"})
    assert str(change) == "create t.predictions with 4 partitions (cleanup.policy=delete)"
