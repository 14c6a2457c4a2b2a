"""Brokers for development and tests, behind one small interface (`Broker`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidegate.infra.brokers.address import AddressBroker
from tidegate.infra.brokers.base import Broker
from tidegate.infra.brokers.container import ContainerBroker
from tidegate.infra.brokers.embedded import EmbeddedBroker
from tidegate.infra.brokers.local import LocalBroker
from tidegate.schemas.errors import DefinitionError

__all__ = [
    "BROKERS",
    "AddressBroker",
    "Broker",
    "ContainerBroker",
    "EmbeddedBroker",
    "LocalBroker",
    "open_broker",
]

BROKERS: Mapping[str, Callable[[], Broker]] = {
    "embedded": EmbeddedBroker,
    "local": LocalBroker,
    "container": ContainerBroker,
}


def open_broker(choice: str) -> Broker:
    """Start the broker a person named, or take the address they gave.

    Raises:
        DefinitionError: neither a name of the registry nor HOST:PORT.
    """
    start = BROKERS.get(choice)
    if start is not None:
        return start()
    if ":" not in choice:
        known = ", ".join(BROKERS)
        raise DefinitionError(f"there is no broker {choice!r}; take {known}, or HOST:PORT")
    return AddressBroker(choice)
