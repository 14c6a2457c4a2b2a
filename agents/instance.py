"""A name that a worker keeps over restarts, so that a killed one is back at once.

Kafka lets a static member return without waiting for its session to run out, if it comes back
under the same name. Several workers of a role on one host take different names: each holds a lock.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from pathlib import Path

from tidegate.agents.kafka import ANSWER_SECONDS_MAX, new_admin
from tidegate.agents.settings import Settings
from tidegate.infra.cluster import is_embedded

_log = logging.getLogger(__name__)
_INSTANCES_MAX = 1_000
_held: list[int] = []


def instance_id(settings: Settings, role: str) -> str:
    """The setting `instance_id`, else `HOST-ROLE-N` with the lowest N free on this host.

    Empty, which means a dynamic member, when the state folder cannot be written or the broker
    (the embedded one) does not know static members. The lock is held until the process ends,
    however it ends.
    """
    if settings.instance_id:
        return f"{settings.instance_id}-{role}"
    if not _keeps_members(settings):
        return ""
    folder = settings.state_dir / "instances"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(_INSTANCES_MAX):
            if _lock(folder / f"{settings.prefix}{role}-{number}.lock"):
                return f"{socket.gethostname()}-{role}-{number}"
    except OSError as error:
        _log.warning("no lasting instance id (%s): a killed worker comes back late", error)
    return ""


def _keeps_members(settings: Settings) -> bool:
    # On the mock, a static member that comes back waits for the session of the one it was.
    return not is_embedded(new_admin(settings).list_topics(timeout=ANSWER_SECONDS_MAX))


def _lock(path: Path) -> bool:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _held.append(descriptor)
    return True
