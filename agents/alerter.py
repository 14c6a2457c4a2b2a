"""The alerter: reads decisions and commands, and tells people through Apprise.

A role of its own, so that no decision ever waits for a receiver. Offsets are committed after
delivery, per partition and in order: what a crash interrupts is told again, never lost. A message
that its receivers refuse is tried again with growing pauses, up to a limit, and then given up
loudly. Records that say the same (a decider that starts again repeats itself) are told once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tidegate.agents import alerting
from tidegate.agents.alert_settings import AlertSettings
from tidegate.agents.kafka import new_consumer, to_record, unreachable, watermarks
from tidegate.agents.metrics import Sample
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.errors import DefinitionError, EventError, Unreachable
from tidegate.schemas.events import Command, Decision

_log = logging.getLogger(__name__)

TOPICS = ("decisions", "commands")
TRIES_MAX = 10
FIRST_PAUSE_SECONDS = 1.0
PAUSE_SECONDS_MAX = 60.0
REMEMBERED = 10_000
_POLL_SECONDS = 0.5


class Notifier(Protocol):
    """Delivers one message to all addresses; False when one of them did not take it."""

    def __call__(self, message: alerting.Message) -> bool: ...


class AppriseNotifier:
    """Apprise with the addresses of the settings; what one of them took is not sent it again.

    Raises:
        DefinitionError: Apprise is not installed, or an address is none that it knows.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._services = list(services_of(addresses))
        self._taken: set[tuple[str, int]] = set()

    def __call__(self, message: alerting.Message) -> bool:
        """Try every address that has not taken the message yet."""
        for place, service in enumerate(self._services):
            if (message.identity, place) in self._taken:
                continue
            kind = {"info": "info", "warning": "warning", "critical": "failure"}
            body = f"{message.body}\n({message.effect}, {message.severity})"
            if service.notify(body=body, title=message.title, notify_type=kind[message.severity]):
                self._taken.add((message.identity, place))
        missing = [
            place
            for place in range(len(self._services))
            if (message.identity, place) not in self._taken
        ]
        if not missing:
            self._taken = {item for item in self._taken if item[0] != message.identity}
        return not missing


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


class Alerter:
    """Reads on from what its group has committed, tells, commits.

    `pause` waits so many seconds, or returns True when the alerter is asked to stop.
    """

    def __init__(
        self,
        settings: Settings,
        notify: Notifier,
        pause: Callable[[float], bool],
        tries_max: int = TRIES_MAX,
    ) -> None:
        self._settings = settings
        self._alerts: AlertSettings = settings.alerts
        self._notify = notify
        self._pause = pause
        self._tries_max = tries_max
        self._told: OrderedDict[str, None] = OrderedDict()
        self.told = self.given_up = self.failures = self.repeated = 0
        self.beat_at = time.monotonic()
        self.reads = False

    def run(self, stopped: threading.Event) -> None:
        """Tell until stopped.

        Raises:
            Unreachable: the broker refuses what is asked of it.
        """
        consumer = self._consumer()
        self.reads = True
        try:
            while not stopped.is_set():
                self.beat_at = time.monotonic()
                message = consumer.poll(_POLL_SECONDS)
                if message is None:
                    continue
                error = message.error()
                if error is not None:
                    self._failed(error)
                elif self._take(message):
                    self._commit(consumer, message)
        finally:
            consumer.close()

    def samples(self) -> Iterator[Sample]:
        """Counters for metrics."""
        yield Sample("tidegate_alerts_total", self.told, ("told",))
        yield Sample("tidegate_alerts_total", self.given_up, ("given_up",))
        yield Sample("tidegate_alerts_total", self.repeated, ("repeated",))
        yield Sample("tidegate_alert_failures_total", self.failures)

    def _consumer(self) -> Consumer:
        # Without a group's word alerts begin now: nobody wants to hear of last year's decisions.
        group = f"{self._settings.prefix}alerter"
        consumer = new_consumer(self._settings, {"group.id": group})
        try:
            kept = {
                (self._settings.topic(name), partition): bounds
                for name in TOPICS
                for partition, bounds in watermarks(self._settings, consumer, name).items()
            }
            places = consumer.committed([TopicPartition(*place) for place in kept], timeout=10)
            for place in places:
                low, high = kept[place.topic, place.partition]
                place.offset = high if place.offset < 0 else max(low, place.offset)
            consumer.assign(places)
            consumer.commit(offsets=places, asynchronous=False)
        except Unreachable:
            consumer.close()
            raise
        except KafkaException as error:
            consumer.close()
            raise unreachable(self._settings, error) from error
        return consumer

    def _failed(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise unreachable(self._settings, KafkaException(error))
        _log.warning("reading decisions: %s", error.str())

    def _commit(self, consumer: Consumer, message: Message) -> None:
        try:
            consumer.commit(message=message, asynchronous=False)
        except KafkaException as error:
            # What is told is told; after a restart it might be told again.
            _log.warning("the offset was not committed: %s", error)

    def _take(self, message: Message) -> bool:
        """Whether the record is dealt with; False when the alerter was stopped before."""
        found = self._read(message)
        if found is None:
            return True
        if not alerting.is_wanted(found, self._alerts.kinds, self._alerts.min_severity):
            return True
        if found.identity in self._told:
            self.repeated += 1
            return True
        if not self._deliver(found):
            return False
        self._told[found.identity] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return True

    def _deliver(self, found: alerting.Message) -> bool:
        seconds = FIRST_PAUSE_SECONDS
        for _ in range(self._tries_max):
            self.beat_at = time.monotonic()
            if self._notify(found):
                self.told += 1
                return True
            self.failures += 1
            if self._is_stopped_within(seconds):
                return False
            seconds = min(2 * seconds, PAUSE_SECONDS_MAX)
        self.given_up += 1
        _log.error("alert given up after %d tries: %s", self._tries_max, found.title)
        return True

    def _is_stopped_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0.0:
            self.beat_at = time.monotonic()
            if self._pause(min(left, 1.0)):
                return True
        return False

    def _read(self, message: Message) -> alerting.Message | None:
        record = to_record(message)
        try:
            if record.topic == self._settings.topic("decisions"):
                return alerting.of_decision(decode_as(Decision, record.value, None))
            return alerting.of_command(decode_as(Command, record.value, None))
        except EventError as error:
            where = f"{record.topic}-{record.partition} offset {record.offset}"
            _log.warning("%s is no record of a decider: %s", where, error)
            return None
