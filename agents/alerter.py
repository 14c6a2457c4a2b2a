"""The alerter: reads decisions and commands, and tells people through Apprise.

A role of its own, so that no decision ever waits for a receiver. Offsets are committed after
delivery, per partition and in order: what a crash interrupts is told again, never lost. A message
that an address does not take is tried again there with growing pauses, up to a limit, and then
given up loudly; later ones are tried there once each until it answers. Records that say the same
(a decider that starts again repeats itself) are told once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tidegate.agents import alerting
from tidegate.agents.alert_settings import AlertSettings
from tidegate.agents.kafka import new_consumer, to_record, unreachable, watermarks
from tidegate.agents.metrics import Sample
from tidegate.agents.receivers import Receiver
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.errors import EventError, Unreachable
from tidegate.schemas.events import Command, Decision

_log = logging.getLogger(__name__)

TOPICS = ("decisions", "commands")
TRIES_MAX = 10
FIRST_PAUSE_SECONDS = 1.0
PAUSE_SECONDS_MAX = 60.0
REMEMBERED = 10_000
_POLL_SECONDS = 0.5


class Alerter:
    """Reads on from what its group has committed, tells, commits.

    `pause` waits so many seconds, or returns True when the alerter is asked to stop.
    """

    def __init__(
        self,
        settings: Settings,
        receivers: Sequence[Receiver],
        pause: Callable[[float], bool],
        tries_max: int = TRIES_MAX,
    ) -> None:
        self._settings = settings
        self._alerts: AlertSettings = settings.alerts
        self._receivers = list(receivers)
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
        """Tell every address, again and again where it is not taken, up to a limit.

        An address that was given up is tried once for each message until it takes one, so that it
        delays nobody else's alerts.
        """
        missing, seconds, is_taken = self._receivers, FIRST_PAUSE_SECONDS, True
        for tries in range(1, self._tries_max + 1):
            missing = [each for each in missing if not each.tell(found, self._is_stopping)]
            self.failures += bool(missing)
            is_taken = is_taken and not any(each.is_given_up for each in missing)
            missing = [each for each in missing if not each.is_given_up]
            if not missing or tries == self._tries_max:
                break
            if self._is_stopped_within(seconds):
                return False
            seconds = min(2 * seconds, PAUSE_SECONDS_MAX)
        if is_taken and not missing:
            self.told += 1
            return True
        if missing and self._is_stopping():
            return False  # the last try may have been cut short
        for each in missing:
            each.is_given_up = True
        self.given_up += 1
        _log.error("alert given up by an address that does not take it: %s", found.title)
        return True

    def _is_stopping(self) -> bool:
        return self._is_stopped_within(0.0)

    def _is_stopped_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while True:
            self.beat_at = time.monotonic()
            left = until - self.beat_at
            if self._pause(max(0.0, min(left, 1.0))):
                return True
            if left <= 1.0:
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
