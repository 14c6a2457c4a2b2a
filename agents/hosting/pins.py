"""Pins: the topics a role began with are the topics it goes on with, as long as it runs and after.

A topic that was deleted and made anew has another id; one that grew has more partitions. Going on
would join what does not belong together, in silence.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException, TopicCollection

from tidegate.agents.failstop import FailStop, fail_stop
from tidegate.agents.hosting.snapshots import Manifest
from tidegate.agents.kafka import new_admin, unreachable
from tidegate.agents.settings import Settings
from tidegate.infra.cluster import is_embedded
from tidegate.schemas.errors import DefinitionError, Unreachable
from tidegate.schemas.topics import merged_topics

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_MISSING_MAX = 2
"""Brokers that have just started may not know of a topic yet."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A merged topic as it is: its full name, Kafka's id of it, its partitions.

    `topic_id` is empty on an embedded broker, which gives its topics none.
    """

    topic: str
    topic_id: str
    partitions: int


def read_pins(settings: Settings, role: str) -> tuple[Pin, ...]:
    """The merged topics of a role as the cluster has them, by rank. Blocks.

    Raises:
        Unreachable: no broker answers.
        DefinitionError: a topic is gone.
    """
    names = [settings.topic(topic.name) for topic in merged_topics(role)]
    admin = new_admin(settings)
    try:
        listed = admin.list_topics(timeout=_ANSWER_SECONDS)
        if is_embedded(listed):
            present = [name for name in names if name in listed.topics]
            pins = [Pin(name, "", len(listed.topics[name].partitions)) for name in present]
        else:
            told = admin.describe_topics(TopicCollection(names), request_timeout=_ANSWER_SECONDS)
            pins = [pin for name in names if (pin := _described(name, told[name])) is not None]
    except KafkaException as error:
        raise unreachable(settings, error) from error
    missing = sorted(set(names) - {pin.topic for pin in pins})
    if missing:
        raise DefinitionError(f"{', '.join(missing)}: gone; {REMEDY}")
    return tuple(pins)


def _described(name: str, answer: Any) -> Pin | None:
    """None when there is no such topic; one that may not be looked at is another thing."""
    try:
        found = answer.result(_ANSWER_SECONDS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise
    return Pin(name, str(found.topic_id), len(found.partitions))


REMEDY = (
    "offsets, checkpoints and what was joined before belong to the old topic. Restore it, or begin "
    "anew with all topics under another `prefix` (`tidegate topics apply --prefix ...`)"
)


def check_ids(manifest: Manifest, topics: tuple[str, ...], topic_ids: tuple[str, ...]) -> None:
    """Refuse a checkpoint that was taken of other topics of the same names.

    Raises:
        DefinitionError: which, and what it means.
    """
    if not manifest.topic_ids or not any(topic_ids):
        return
    faults = tuple(
        f"{topic}: its id is {now}, the checkpoint was taken of {then}"
        for topic, now, then in zip(topics, topic_ids, manifest.topic_ids, strict=True)
        if now != then
    )
    if faults:
        raise DefinitionError(
            f"partition {manifest.partition} cannot go on from its checkpoint: topics were deleted "
            f"and made anew; {REMEDY}",
            faults,
        )


def faults_of(pinned: tuple[Pin, ...], now: tuple[Pin, ...]) -> tuple[str, ...]:
    """What has become of pinned topics, one line each."""
    faults = []
    for before, after in zip(pinned, now, strict=True):
        if before.topic_id != after.topic_id:
            faults.append(
                f"{before.topic} was deleted and made anew (its id was {before.topic_id}, is "
                f"{after.topic_id}); {REMEDY}"
            )
        elif before.partitions != after.partitions:
            faults.append(
                f"{before.topic} has {after.partitions} partitions, it had {before.partitions}: "
                "keys are elsewhere now, and outcomes will not meet their predictions. Partitions "
                "cannot be taken away again: begin anew with all topics under another `prefix`, "
                "with the setting `partitions` as wanted"
            )
    return tuple(faults)


class PinWatch:
    """Looks every few seconds, in a thread, whether the topics are still those it began with."""

    def __init__(self, settings: Settings, role: str, fail: FailStop = fail_stop) -> None:
        self._settings = settings
        self._role = role
        self._fail = fail
        self._missing = 0
        self._pinned = read_pins(settings, role)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidegate-pins", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no longer."""
        self._stopped.set()

    def look(self, missing_max: int = _MISSING_MAX) -> None:
        """Look once; ends the process when topics have changed, or one was gone so many times."""
        try:
            now = read_pins(self._settings, self._role)
        except Unreachable as error:
            _log.warning("the topics cannot be looked at: %s", error)
            return
        except DefinitionError as error:
            self._missing += 1
            if self._missing >= missing_max:
                self._fail("a merged topic is gone", error)
            return
        self._missing = 0
        faults = faults_of(self._pinned, now)
        if faults:
            changed = DefinitionError("merged topics are not what this worker began with", faults)
            self._fail("merged topics have changed", changed)

    def fail(self, why: str, error: BaseException | None = None) -> NoReturn:
        """End the process for `why`, or for what is behind it: topics that are others by now."""
        self.look(missing_max=1)
        self._fail(why, error)

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_SECONDS):
            try:
                self.look()
            except Exception:
                # The next look may succeed; a thread that is dead would never look again.
                _log.exception("the topics could not be looked at")
