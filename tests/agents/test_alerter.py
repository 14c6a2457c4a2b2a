"""The alerter on a broker: told after delivery, once, through a receiver that was away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.agents.test_alerting import command, decision
from tests.agents.waiting import wait_for
from tidegate.agents import alerter
from tidegate.agents.alert_settings import AlertSettings
from tidegate.agents.alerter import Alerter
from tidegate.agents.alerting import Message
from tidegate.agents.kafka import new_producer
from tidegate.agents.receivers import Receiver as Told
from tidegate.agents.receivers import receivers_of
from tidegate.agents.settings import Settings
from tidegate.schemas import codec
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import Event

pytest.importorskip("apprise")


class Receiver:
    """An HTTP server on loopback that keeps what it was sent."""

    def __init__(self, port: int = 0) -> None:
        self.heard: list[dict[str, Any]] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def titles(self) -> list[str]:
        """Titles in the order they came."""
        return [item["title"] for item in self.heard]

    def close(self) -> None:
        """Nobody answers any more."""
        self._server.shutdown()
        self._server.server_close()


def write(settings: Settings, topic: str, *events: Event) -> None:
    """Records as a decider writes them."""
    producer = new_producer(settings)
    for event in events:
        producer.produce(settings.topic(topic), codec.encode(event), b"ranker", partition=0)
    assert producer.flush(10) == 0


@contextmanager
def running(
    settings: Settings, tries_max: int = 1_000, told: list[Told] | None = None
) -> Iterator[Alerter]:
    """An alerter at work; pauses are short, since only their number counts here."""
    stopped = threading.Event()
    found = Alerter(
        settings,
        receivers_of(settings.alerts.addresses) if told is None else told,
        lambda seconds: stopped.wait(min(seconds, 0.05)),
        tries_max,
    )
    thread = threading.Thread(target=found.run, args=(stopped,))
    thread.start()
    try:
        yield found
    finally:
        stopped.set()
        thread.join(20)
        assert not thread.is_alive()


def asking(settings: Settings, *ports: int) -> Settings:
    """Settings with receivers."""
    addresses = tuple(f"json://127.0.0.1:{port}/alerts" for port in ports)
    return replace(settings, alerts=AlertSettings(addresses))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerter, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(alerter, "PAUSE_SECONDS_MAX", 0.1)


def begun(settings: Settings) -> None:
    """An alerter that has been there: later ones go on from its commits."""
    with running(settings) as found:
        wait_for(lambda: found.reads)


def test_what_came_while_the_receiver_was_away_is_told_once_it_is_there(
    settings: Settings,
) -> None:
    """Nothing is lost, repeated or reordered; what nobody asked for is not told."""
    receiver = Receiver()
    port = receiver.port
    receiver.close()
    asked = asking(settings, port)
    begun(asked)
    with running(asked) as found:
        write(
            asked,
            "decisions",
            decision(decision_id="a", action="PAUSE", phase="PAUSED"),
            decision(decision_id="b", action="ADVANCE"),
            decision(decision_id="c"),
            decision(decision_id="c"),
        )
        wait_for(lambda: found.failures >= 3, 30)
        assert found.told == 0
        receiver = Receiver(port)
        wait_for(lambda: found.told == 2 and found.repeated == 1, 30)
        write(asked, "commands", command("STATUS"), command())
        wait_for(lambda: found.told == 3, 30)
    assert receiver.titles() == [
        "ranker: pause challenger", "ranker: rollback challenger", "tidegate: alert"
    ]  # fmt: skip
    assert "(halting, warning)" in receiver.heard[0]["message"]
    receiver.close()


def test_what_was_not_delivered_is_told_by_the_next_alerter(settings: Settings) -> None:
    """Offsets are committed after delivery: an alerter that ends in between loses nothing."""
    receiver = Receiver()
    port = receiver.port
    receiver.close()
    asked = asking(settings, port)
    begun(asked)
    with running(asked) as found:
        write(asked, "decisions", decision(decision_id="a"), decision(decision_id="b"))
        wait_for(lambda: found.failures >= 1, 30)
    receiver = Receiver(port)
    with running(asked) as found:
        wait_for(lambda: found.told == 2, 30)
    with running(asked) as found:
        write(asked, "decisions", decision(decision_id="c"))
        wait_for(lambda: found.told == 1, 30)
    assert len(receiver.heard) == 3
    receiver.close()


def test_after_its_tries_an_alert_is_given_up_and_the_next_is_told(
    embedded_settings: Settings,
) -> None:
    """One dead address among two holds up nobody for ever; the living one hears each once.

    The dead one, once it was given up, is tried once for each message until it answers.
    """
    receiver = Receiver()
    dead = Receiver()
    dead.close()
    asked = asking(embedded_settings, dead.port, receiver.port)
    begun(asked)
    with running(asked, tries_max=3) as found:
        write(asked, "decisions", decision(decision_id="a"), decision(decision_id="b"))
        wait_for(lambda: found.given_up == 2, 60)
        assert (found.failures, found.told) == (4, 0)
        revived = Receiver(dead.port)
        write(asked, "decisions", decision(decision_id="c"))
        wait_for(lambda: found.told == 1, 60)
        revived.close()
        write(asked, "decisions", decision(decision_id="d"))
        wait_for(lambda: found.given_up == 3, 60)
    assert found.failures == 7
    assert (len(receiver.heard), len(revived.heard)) == (4, 1)
    receiver.close()


def test_behind_the_last_try_nobody_waits(
    embedded_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause is for what comes after it."""
    monkeypatch.setattr(alerter, "FIRST_PAUSE_SECONDS", 3_600.0)
    asked = asking(embedded_settings)
    begun(asked)
    with running(asked, tries_max=1, told=[Told(lambda message: False)]) as found:
        write(asked, "decisions", decision(decision_id="a"))
        wait_for(lambda: found.given_up == 1, 30)


def test_an_alerter_that_waits_for_a_slow_address_shows_that_it_lives(
    embedded_settings: Settings,
) -> None:
    """The watchdog ends what does not; a receiver's time is no reason to."""
    asked = asking(embedded_settings)
    begun(asked)
    beats: list[float] = []

    def slow(message: Message) -> bool:
        began = found.beat_at
        wait_for(lambda: found.beat_at > began + 0.5, 30)
        beats.append(found.beat_at)
        return True

    with running(asked, told=[Told(slow), Told(slow)]) as found:
        write(asked, "decisions", decision(decision_id="a"))
        wait_for(lambda: found.told == 1, 60)
    assert len(beats) == 2


def test_an_address_that_is_none_is_refused_without_its_secret() -> None:
    """The alerter does not start, and nothing of the address is shown but its scheme."""
    with pytest.raises(DefinitionError) as caught:
        receivers_of(("json://127.0.0.1:9", "nosuch://user:secret@host"))
    assert "address 2 (nosuch:…)" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_bytes_that_are_no_decision_are_passed_over(embedded_settings: Settings) -> None:
    """A stray record stops no alert."""
    receiver = Receiver()
    asked = asking(embedded_settings, receiver.port)
    begun(asked)
    with running(asked) as found:
        producer = new_producer(asked)
        producer.produce(asked.topic("decisions"), b"\xc3\x01nonsense", partition=0)
        producer.produce(asked.topic("commands"), b"\x00\x00\x00\x00\x07stray", partition=0)
        producer.flush(10)
        write(asked, "decisions", decision(decision_id="z"))
        wait_for(lambda: found.told == 1, 30)
        write(asked, "commands", command())
        wait_for(lambda: found.told == 2, 30)
    receiver.close()
