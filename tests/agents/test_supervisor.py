"""The supervisor: what fails is started again, what refuses ends everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.agents.waiting import wait_for
from tests.conftest import NewSettings
from tidegate.agents import supervisor as supervisor_module
from tidegate.agents.alert_settings import AlertSettings
from tidegate.agents.kafka import new_consumer, watermarks
from tidegate.agents.settings import Settings
from tidegate.agents.supervisor import Supervisor
from tidegate.agents.worker import _stop_signals
from tidegate.infra.brokers import LocalBroker

PATIENCE_SECONDS = 200.0
"""Each start of a role is a start of Python, which a busy machine makes wait."""


@contextmanager
def watched(supervisor: Supervisor) -> Iterator[list[int]]:
    """A supervisor at work in a thread; its exit code comes into the list."""
    codes: list[int] = []
    supervisor.start()
    thread = threading.Thread(target=lambda: codes.append(supervisor.watch()))
    thread.start()
    try:
        yield codes
    finally:
        supervisor.stop()
        thread.join(30)


def ticker_id() -> int | None:
    """The process that ticks now."""
    running = multiprocessing.active_children()
    return next((each.pid for each in running if each.name == "tidegate-ticker"), None)


@pytest.mark.slow
def test_a_role_that_is_killed_is_started_again(embedded_settings: Settings) -> None:
    """With another process and without disturbing the others."""
    supervisor = Supervisor(embedded_settings, ("ticker",))
    with watched(supervisor) as codes:
        first = ticker_id()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: supervisor.restarts == 1 and ticker_id() not in (None, first))
    assert codes == [0]


@pytest.mark.slow
def test_a_role_that_ends_by_itself_is_started_again(embedded_settings: Settings) -> None:
    """0 is no refusal: somebody asked one role to end, and the others go on."""
    supervisor = Supervisor(embedded_settings, ("ticker",))
    with watched(supervisor) as codes:
        wait_for(lambda: ticks(embedded_settings) > 0, PATIENCE_SECONDS)
        first = ticker_id()
        assert first is not None
        os.kill(first, signal.SIGTERM)
        wait_for(lambda: supervisor.restarts == 1 and ticker_id() not in (None, first))
        assert not codes
    assert codes == [0]


@pytest.mark.slow
def test_an_alerter_that_refuses_ends_nobody(
    embedded_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is taken, or a library that is missing: deciding goes on, and it is tried
    again."""
    monkeypatch.setattr(supervisor_module, "REFUSAL_SECONDS", 0.1)
    refused = replace(embedded_settings, alerts=AlertSettings(("nosuch://host",)))
    supervisor = Supervisor(refused, ("ticker", "alerter"))
    with watched(supervisor) as codes:
        first = ticker_id()
        wait_for(lambda: supervisor.restarts >= 2, PATIENCE_SECONDS)
        assert not codes
        assert ticker_id() == first
    assert codes == [0]


@pytest.mark.slow
def test_a_refusal_ends_everything_with_its_exit_code(embedded_settings: Settings) -> None:
    """Starting again would be refused again: 2 is for the operator."""
    supervisor = Supervisor(replace(embedded_settings, prefix="nothing."), ("ticker",))
    with watched(supervisor) as codes:
        wait_for(lambda: bool(codes))
    assert codes == [2]
    assert supervisor.restarts == 0


@pytest.mark.slow
def test_brokers_that_never_answered_end_everything(embedded_settings: Settings) -> None:
    """Nobody listens there, so the address is wrong: 3 at once, as a role alone does."""
    nowhere = replace(embedded_settings, kafka={"bootstrap.servers": "127.0.0.1:1"})
    supervisor = Supervisor(nowhere, ("ticker",))
    with watched(supervisor) as codes:
        wait_for(lambda: bool(codes), PATIENCE_SECONDS)
    assert codes == [3]
    assert supervisor.restarts == 0


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_brokers_that_answered_once_are_waited_for(
    new_settings: NewSettings,
) -> None:
    """A role that dies while the broker is away cannot start, again and again; once the broker is
    back the role works."""
    with LocalBroker() as broker:
        settings = new_settings(broker)
        supervisor = Supervisor(settings, ("ticker",))
        with watched(supervisor) as codes:
            wait_for(lambda: ticks(settings) > 0, PATIENCE_SECONDS)
            first = ticker_id()
            assert first is not None
            broker.kill()
            os.kill(first, signal.SIGKILL)
            wait_for(lambda: supervisor.restarts >= 2, PATIENCE_SECONDS)
            assert not codes
            broker.restart()
            before = ticks(settings)
            wait_for(lambda: ticks(settings) > before, PATIENCE_SECONDS)
    assert codes == [0]


def ticks(settings: Settings) -> int:
    """How many there are in one log."""
    consumer = new_consumer(settings)
    try:
        return watermarks(settings, consumer, "control", [0])[0][1]
    finally:
        consumer.close()


def test_a_signal_that_a_supervisor_hears_is_left_to_it() -> None:
    """Ctrl-C reaches every process of a terminal: roles end when asked, the ticker last."""
    # Whoever runs the tests in the background of a shell has it ignored already.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert _stop_signals() == [signal.SIGTERM, signal.SIGINT]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert _stop_signals() == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGINT, before)
