"""Looking at a cluster's topics and changing them."""

from __future__ import annotations

import time
import uuid

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from tidegate.infra.brokers import Broker, EmbeddedBroker
from tidegate.infra.cluster import apply_changes, find_topics
from tidegate.infra.topics import FoundTopic, WantedTopic, check, plan, wanted_topics
from tidegate.schemas.errors import Unreachable


def test_applying_mends_what_checking_found(broker: Broker) -> None:
    """Apply, then check: no faults; apply again: nothing to do."""
    table = wanted_topics(f"test-{uuid.uuid4().hex[:8]}.", 4, 2, 1)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    create = broker.create_topics if broker.kind == "embedded" else None
    apply_changes(admin, plan(table, find_topics(admin, table)), create)
    assert plan(table, eventually_found(admin, table)) == []


@pytest.mark.kafka
def test_applying_changes_settings_in_place(local_kafka: Broker) -> None:
    """A topic with other settings keeps its records and gets the settings of the table."""
    prefix = f"test-{uuid.uuid4().hex[:8]}."
    table = wanted_topics(prefix, 4, 2, 1)
    local_kafka.create_topics({each.name: each.partitions for each in table})
    admin = AdminClient({"bootstrap.servers": local_kafka.bootstrap})
    before = check(table, eventually_found(admin, table, faults=99))
    assert any("has cleanup.policy=delete, must be compact" in str(fault) for fault in before)
    apply_changes(admin, plan(table, find_topics(admin, table)))
    assert check(table, eventually_found(admin, table)) == []
    resource = ConfigResource(ConfigResource.Type.TOPIC, prefix + "clock")
    [future] = admin.describe_configs([resource]).values()
    assert future.result()["message.timestamp.type"].value == "LogAppendTime"


def test_a_broker_that_is_away_is_told_as_such() -> None:
    """Looking at topics where nobody answers is an error of reach, not a list of missing topics."""
    table = wanted_topics("t.", 4, 2, 1)
    with EmbeddedBroker() as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        broker.kill()
        with pytest.raises(Unreachable, match="topics cannot be listed"):
            find_topics(admin, table, seconds=1)


def eventually_found(
    admin: AdminClient, table: list[WantedTopic], faults: int = 0
) -> dict[str, FoundTopic]:
    """What is there once at most `faults` are left; clusters tell of changes a little later."""
    deadline = time.monotonic() + 20
    while True:
        there = find_topics(admin, table)
        if len(there) == len(table) and len(check(table, there)) <= faults:
            return there
        assert time.monotonic() < deadline, check(table, there)
