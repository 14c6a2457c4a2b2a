"""A broker that somebody else runs, named by its address."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.infra.brokers.base import Broker, create_by_admin
from tidegate.schemas.errors import DefinitionError


class AddressBroker(Broker):
    """An address; stopping it only means not using it any more.

    Raises:
        DefinitionError: the address is not HOST:PORT, or several with commas.
    """

    kind = "address"

    def __init__(self, bootstrap: str, replication: int = 1) -> None:
        for address in bootstrap.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit():
                raise DefinitionError(f"{address!r} is no broker address; write HOST:PORT")
        self.bootstrap = bootstrap
        self._replication = replication

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create topics by number of partitions; those that exist are left alone."""
        create_by_admin(self.bootstrap, partitions, self._replication)

    def stop(self) -> None:
        """Nothing to stop: it is not ours."""
