"""What is asked of brokers beside the fetching: where logs end, and whether anybody answers."""

from __future__ import annotations

import pytest

from tests.agents.waiting import wait_for
from tests.conftest import NewSettings
from tidegate.agents.hosting import ends
from tidegate.agents.hosting.ends import Ends, LogEnd
from tidegate.agents.kafka import new_producer
from tidegate.infra.brokers import EmbeddedBroker


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks all the time; an answer is old after a second."""
    monkeypatch.setattr(ends, "_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(ends, "_STALE_SECONDS", 1.0)


def test_a_worker_that_owns_nothing_hears_whether_brokers_answer(
    new_settings: NewSettings,
) -> None:
    """Answered while there is a broker, not while it is away, and again when it is back."""
    with EmbeddedBroker() as broker:
        asked = Ends(new_settings(broker), "predictions", lambda: ())
        assert not asked.answered
        asked.start()
        wait_for(lambda: asked.answered)
        broker.kill()
        wait_for(lambda: not asked.answered)
        broker.restart()
        wait_for(lambda: asked.answered)
        asked.stop()


def test_ends_are_known_of_what_is_owned(new_settings: NewSettings) -> None:
    """An end is the offset behind the last record; of what is not owned none is known."""
    with EmbeddedBroker() as broker:
        settings = new_settings(broker)
        producer = new_producer(settings)
        producer.produce(settings.topic("predictions"), b"any", partition=0)
        assert producer.flush(10) == 0
        owned: list[LogEnd] = [("predictions", 0)]
        asked = Ends(settings, "predictions", lambda: owned)
        asked.start()
        wait_for(lambda: asked.end("predictions", 0) == 1)
        assert asked.answered
        assert asked.end("predictions", 1) is None
        asked.stop()
