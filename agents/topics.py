"""The topics table under these settings, on these settings' cluster."""

from __future__ import annotations

import time
from dataclasses import replace

from tidegate.agents.kafka import new_admin, require_broker
from tidegate.agents.settings import Settings
from tidegate.infra.brokers import Broker
from tidegate.infra.cluster import apply_changes, find_topics, is_embedded
from tidegate.infra.topics import Change, Fault, WantedTopic, check, plan, wanted_topics
from tidegate.schemas.errors import DefinitionError, Unreachable

_SHOWN_SECONDS_MAX = 30.0


def wanted(settings: Settings) -> list[WantedTopic]:
    """All topics, as these settings want them."""
    table = wanted_topics(
        settings.prefix, settings.partitions, settings.decision_partitions, settings.replication
    )
    return [replace(topic, name=settings.topic(topic.topic.name)) for topic in table]


def plan_topics(settings: Settings) -> list[Change]:
    """What `apply_topics` would do.

    Raises:
        Unreachable: no broker answers.
    """
    require_broker(settings)
    return plan(wanted(settings), find_topics(new_admin(settings), wanted(settings)))


def apply_topics(settings: Settings, broker: Broker | None = None) -> list[Change]:
    """Create and change topics; what was done. Returns when the cluster tells of it everywhere.

    Args:
        broker: the one these settings name, if it is ours: an embedded one must be asked itself.

    Raises:
        DefinitionError: the cluster refuses, with its words for each topic; or it is an embedded
            one of somebody else.
        Unreachable: no broker answers, or the changes do not show.
    """
    changes = plan_topics(settings)
    if changes and broker is None and is_embedded(new_admin(settings).list_topics()):
        raise DefinitionError(
            f"The broker at {settings.bootstrap} is an embedded one, which creates topics only for"
            " the process that started it, so nothing was changed. Start it with `tidegate up"
            f" --prefix {settings.prefix}`, or a Kafka that can with `tidegate up --kafka local`."
        )
    create = broker.create_topics if broker is not None and broker.kind == "embedded" else None
    apply_changes(new_admin(settings), changes, create)
    # A broker acknowledges a change before all of them tell of it.
    deadline = time.monotonic() + _SHOWN_SECONDS_MAX
    while left := plan_topics(settings):
        if time.monotonic() > deadline:
            raise Unreachable(f"the cluster does not show what it acknowledged: {left[0]}")
        time.sleep(0.1)
    return changes


def check_topics(settings: Settings) -> list[Fault]:
    """All that keeps agents from starting, each with what mends it.

    Raises:
        Unreachable: no broker answers.
    """
    require_broker(settings)
    return check(wanted(settings), find_topics(new_admin(settings), wanted(settings)))
