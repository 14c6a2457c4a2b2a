"""One address: slow, broken or dead on its own."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.agents.test_alerting import decision
from tests.agents.waiting import wait_for
from tidegate.agents import receivers
from tidegate.agents.alerting import Message, of_decision
from tidegate.agents.receivers import Receiver


def message(name: str) -> Message:
    """A message about a decision of that id."""
    return of_decision(decision(decision_id=name))


def never() -> bool:
    """Nobody asks for the end."""
    return False


def test_what_an_address_raises_is_not_taken_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A plugin may raise anything; its words may hold the address, which holds secrets."""

    def broken(found: Message) -> bool:
        raise RuntimeError("json://user:secret@host")

    with caplog.at_level(logging.WARNING):
        assert not Receiver(broken, 2).tell(message("a"), never)
    assert "alert address 2 failed: RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_an_address_that_hangs_is_waited_for_so_long_and_not_asked_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who waits is asked meanwhile whether to stop; what was taken late is not sent again."""
    monkeypatch.setattr(receivers, "SEND_SECONDS_MAX", 0.3)
    monkeypatch.setattr(receivers, "_WAIT_SECONDS", 0.01)
    released, sent, asked = threading.Event(), [], []

    def hangs(found: Message) -> bool:
        sent.append(found.identity)
        return released.wait(30)

    def looks() -> bool:
        asked.append(True)
        return False

    receiver = Receiver(hangs)
    assert not receiver.tell(message("a"), looks)
    assert len(asked) > 2
    assert not receiver.tell(message("a"), never)
    assert not receiver.tell(message("b"), never)
    released.set()
    wait_for(lambda: receiver.tell(message("a"), never))
    assert sent == ["a"]
    assert receiver.tell(message("b"), never)
    assert sent == ["a", "b"]


def test_who_is_to_stop_waits_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A send in hand may end, so that it need not be told again; the process must end, too."""
    monkeypatch.setattr(receivers, "STOP_SECONDS_MAX", 0.1)
    released = threading.Event()
    assert not Receiver(lambda found: released.wait(30)).tell(message("a"), lambda: True)
    released.set()
