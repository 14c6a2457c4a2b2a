"""Whom the alerter tells: one address each, that may be slow, dead or broken on its own.

A send runs on a thread of its own and is waited for so long and no longer: whatever an address
does, the others are told, and the process that waits shows that it lives.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tidegate.agents import alerting
from tidegate.schemas.errors import DefinitionError

_log = logging.getLogger(__name__)

SEND_SECONDS_MAX = 60.0
"""Apprise bounds its own sends: 8 s over HTTP, 15 s by mail, times the targets of an address."""
STOP_SECONDS_MAX = 2.0
_WAIT_SECONDS = 0.2
_KINDS = {"info": "info", "warning": "warning", "critical": "failure"}

Send = Callable[[alerting.Message], bool]
"""Sends a message to one address; whether that took it."""


class Receiver:
    """One address.

    `is_given_up`: it did not take a message, however often that was tried, and none since.
    """

    def __init__(self, send: Send, number: int = 1) -> None:
        self._send = send
        self._number = number
        self._sending: threading.Thread | None = None
        self._took = ""
        self.is_given_up = False

    def tell(self, message: alerting.Message, is_stopping: Callable[[], bool]) -> bool:
        """Whether the address took the message; what it raises, or takes too long for, it did not.

        `is_stopping` is asked several times a second.
        """
        if self._sending is not None and self._sending.is_alive():
            return False  # it still hangs on what it was told before
        if self._took != message.identity:
            self._sending = threading.Thread(
                target=self._try, args=(message,), name="tidegate-alert", daemon=True
            )
            self._sending.start()
            self._wait(self._sending, is_stopping)
        taken = self._took == message.identity
        self.is_given_up = self.is_given_up and not taken
        return taken

    def _wait(self, sending: threading.Thread, is_stopping: Callable[[], bool]) -> None:
        until = time.monotonic() + SEND_SECONDS_MAX
        while sending.is_alive() and time.monotonic() < until:
            if is_stopping():
                until = min(until, time.monotonic() + STOP_SECONDS_MAX)
            sending.join(_WAIT_SECONDS)

    def _try(self, message: alerting.Message) -> None:
        try:
            if self._send(message):
                self._took = message.identity
        except Exception as error:
            # Its words may hold the address, and that holds secrets.
            _log.warning("alert address %d failed: %s", self._number, type(error).__name__)


def receivers_of(addresses: tuple[str, ...]) -> list[Receiver]:
    """Receivers behind Apprise addresses.

    Raises:
        DefinitionError: Apprise is not installed, or an address is none that it knows.
    """
    return [
        Receiver(_sender(service), number)
        for number, service in enumerate(services_of(addresses), start=1)
    ]


def services_of(addresses: tuple[str, ...]) -> Iterator[Any]:
    """Apprise's service of each address; addresses hold secrets, so errors count them only."""
    try:
        from apprise import Apprise
    except ImportError as error:
        raise DefinitionError(
            "alerts need Apprise, which is not installed", ('pip install "tidegate[alerts]"',)
        ) from error
    for number, address in enumerate(addresses, start=1):
        service = Apprise.instantiate(address)
        if service is None:
            scheme = address.partition(":")[0]
            raise DefinitionError(
                f"alerts: address {number} ({scheme}:…) is none that Apprise knows;"
                " see https://github.com/caronc/apprise/wiki"
            )
        yield service


def _sender(service: Any) -> Send:
    def send(message: alerting.Message) -> bool:
        body = f"{message.body}\n({message.effect}, {message.severity})"
        kind = _KINDS[message.severity]
        return bool(service.notify(body=body, title=message.title, notify_type=kind))

    return send
