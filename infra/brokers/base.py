"""What every broker can be asked, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

from tidegate.schemas.errors import DefinitionError


class Broker(ABC):
    """A running broker, or several nodes of one cluster, for development and tests.

    Nodes are numbered from 1. What a kind of broker cannot do raises `DefinitionError`; what
    it does otherwise than a production cluster is listed in `limits`, to be shown to people.
    """

    kind: ClassVar[str]
    limits: ClassVar[tuple[str, ...]] = ()
    bootstrap: str

    @abstractmethod
    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create topics by number of partitions; those that exist are left alone."""

    @abstractmethod
    def stop(self) -> None:
        """Stop for good and leave nothing behind; a second call does nothing."""

    def kill(self, node: int = 1) -> None:
        """Make a node vanish without a goodbye, as SIGKILL or a cut cable does."""
        self._refuse("be killed", node)

    def restart(self, node: int = 1) -> None:
        """Bring a killed node back with the data it had."""
        self._refuse("be restarted", node)

    def pause(self, node: int = 1) -> None:
        """Stop a node's process where it stands: connections stay open and nothing answers."""
        self._refuse("be paused", node)

    def resume(self, node: int = 1) -> None:
        """Let a paused node go on."""
        self._refuse("be resumed", node)

    def _refuse(self, verb: str, node: int) -> None:
        raise DefinitionError(f"node {node} of the broker at {self.bootstrap} cannot {verb} by us")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()


def create_by_admin(bootstrap: str, partitions: Mapping[str, int], replication: int) -> None:
    """Create topics on a real cluster; those that exist are left alone.

    Raises:
        DefinitionError: the cluster refuses, with its words for each topic.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    wanted = [
        NewTopic(name, num_partitions=count, replication_factor=replication)
        for name, count in partitions.items()
    ]
    faults = []
    for name, future in admin.create_topics(wanted, operation_timeout=20).items():
        try:
            future.result(timeout=30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                faults.append(f"{name}: {error.args[0].str()}")
    if faults:
        raise DefinitionError("topics could not be created", tuple(faults))
