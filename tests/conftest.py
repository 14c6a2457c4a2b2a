"""Brokers for tests: the embedded one, a real Apache Kafka, and settings on a fresh prefix.

`settings` runs a test on both; `embedded_settings` and `kafka_settings` on one of them. Tests of
real Kafka are skipped where it cannot be started, and fail instead when TIDEGATE_REQUIRE_KAFKA=1.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tidegate.agents.settings import Settings
from tidegate.infra.brokers import AddressBroker, Broker, EmbeddedBroker, LocalBroker
from tidegate.infra.cluster import apply_changes
from tidegate.infra.topics import plan, wanted_topics
from tidegate.schemas.errors import TidegateError

# A test is right or wrong, not fast or slow: machines that run it are busy.
hypothesis_settings.register_profile(
    "tidegate", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("tidegate")

NewSettings = Callable[[Broker], Settings]


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """One embedded broker for the whole run."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def local_kafka() -> Iterator[Broker]:
    """One real Apache Kafka for the whole run, or the one TIDEGATE_TEST_KAFKA names."""
    address = os.environ.get("TIDEGATE_TEST_KAFKA")
    try:
        broker: Broker = AddressBroker(address) if address else LocalBroker()
    except TidegateError as error:
        if os.environ.get("TIDEGATE_REQUIRE_KAFKA") == "1":
            raise
        pytest.skip(f"no Apache Kafka: {error}")
    with broker:
        yield broker


@pytest.fixture(params=["embedded_broker", pytest.param("local_kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """The embedded broker, then the real one: what holds on one must hold on the other."""
    chosen: Broker = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def new_settings(tmp_path: Path) -> NewSettings:
    """Makes settings with a fresh prefix and state folder, and their topics, on a broker."""

    def make(broker: Broker) -> Settings:
        settings = Settings(
            kafka={"bootstrap.servers": broker.bootstrap},
            prefix=f"test-{uuid.uuid4().hex[:8]}.",
            state_dir=tmp_path / "state",
        )
        wanted = wanted_topics(
            settings.prefix,
            settings.partitions,
            settings.decision_partitions,
            settings.replication,
        )
        create = broker.create_topics if broker.kind == "embedded" else None
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        apply_changes(admin, plan(wanted, {}), create)
        return settings

    return make


@pytest.fixture
def settings(broker: Broker, new_settings: NewSettings) -> Settings:
    """Settings with fresh topics, on the embedded broker and then on the real one."""
    return new_settings(broker)


@pytest.fixture
def embedded_settings(embedded_broker: EmbeddedBroker, new_settings: NewSettings) -> Settings:
    """Settings with fresh topics on the embedded broker."""
    return new_settings(embedded_broker)


@pytest.fixture
def kafka_settings(local_kafka: Broker, new_settings: NewSettings) -> Settings:
    """Settings with fresh topics on the real broker; mark the test `kafka`."""
    return new_settings(local_kafka)
