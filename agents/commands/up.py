"""`tidegate up`: broker, topics and a worker of all roles, for development."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tidegate.agents.settings import Settings

if TYPE_CHECKING:
    from tidegate.infra.brokers import Broker

KAFKA_PORT = 9092
WEB_PORT = 6066


def run_up(settings: Settings, choice: str, tell: Callable[[str], None] = print) -> int:
    """Run until SIGINT or SIGTERM; the exit code of the worker.

    Args:
        choice: `embedded`, `local`, `container` or HOST:PORT.

    Raises:
        DefinitionError: no such broker, or it cannot be started here.
        Unreachable: it does not answer.
    """
    from tidegate.agents.roles import roles_here
    from tidegate.agents.supervisor import supervise
    from tidegate.agents.topics import apply_topics

    with _broker(settings, choice, tell) as broker:
        settings = settings.with_bootstrap(broker.bootstrap, "--kafka")
        created = [change for change in apply_topics(settings, broker) if change.create]
        roles = roles_here(settings)
        if not settings.web_port and _all_free(WEB_PORT, len(roles)):
            settings = replace(settings, web_port=WEB_PORT)
        tell(f"broker   {broker.kind} at {broker.bootstrap}")
        for limit in broker.limits:
            tell(f"         {limit}")
        tell(f"topics   {settings.prefix}*, {len(created)} created")
        for offset, role in enumerate(roles if settings.web_port else ()):
            tell(f"{role:8} http://{settings.web_host}:{settings.web_port + offset}/metrics")
        tell("")
        tell("In another terminal:")
        tell(f"  export TIDEGATE_BOOTSTRAP={broker.bootstrap}")
        tell("  tidegate apply -f FILE    # such as examples/click-ranker.yaml of the repository")
        tell("Ctrl-C stops everything.")
        # Between sentences for people, roles say only what must be seen.
        return supervise(settings, logging.WARNING)


def _broker(settings: Settings, choice: str, tell: Callable[[str], None]) -> Broker:
    from tidegate.infra.brokers import LocalBroker, open_broker

    if choice == "local":
        return LocalBroker(data=settings.state_dir / "kafka", port=KAFKA_PORT, tell=tell)
    return open_broker(choice)


def _all_free(first: int, count: int) -> bool:
    for port in range(first, first + count):
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
