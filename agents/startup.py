"""What must be true before an agent starts; each refusal names the command that mends it."""

from __future__ import annotations

from tidegate.agents.kafka import new_admin, require_broker
from tidegate.agents.settings import Settings
from tidegate.agents.web import require_loopback
from tidegate.infra.cluster import find_topics
from tidegate.infra.topics import check, wanted_topics
from tidegate.schemas.errors import DefinitionError


def check_startup(settings: Settings) -> None:
    """Return when a role may start.

    Raises:
        DefinitionError: topics missing, compacted or with unequal partitions; an open `web_host`.
        Unreachable: no broker answers; the message says where it was looked for.
    """
    require_loopback(settings.web_host)
    require_broker(settings)
    wanted = wanted_topics(
        settings.prefix, settings.partitions, settings.decision_partitions, settings.replication
    )
    faults = check(wanted, find_topics(new_admin(settings), wanted))
    if faults:
        raise DefinitionError(
            f"the topics at {settings.bootstrap} are not what agents need",
            tuple(str(fault) for fault in faults),
        )
