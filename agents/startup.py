"""What must be true before an agent starts; each refusal names the command that mends it."""

from __future__ import annotations

from tidegate.agents.settings import Settings
from tidegate.agents.topics import check_topics
from tidegate.agents.web import require_loopback
from tidegate.schemas.errors import DefinitionError


def check_startup(settings: Settings) -> None:
    """Return when a role may start.

    Raises:
        DefinitionError: topics missing, compacted or with unequal partitions; an open `web_host`;
            a `state_dir` that cannot be written.
        Unreachable: no broker answers; the message says where it was looked for.
    """
    require_loopback(settings.web_host)
    _require_state_folder(settings)
    faults = check_topics(settings)
    if faults:
        raise DefinitionError(
            f"the topics at {settings.bootstrap} are not what agents need",
            tuple(str(fault) for fault in faults),
        )


def _require_state_folder(settings: Settings) -> None:
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DefinitionError(
            f"the state folder {settings.state_dir} cannot be made: {error}; set `state_dir`"
        ) from error
