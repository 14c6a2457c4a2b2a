"""A broker in a container, by testcontainers, where a Docker engine runs."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.infra.brokers.base import Broker, create_by_admin
from tidegate.schemas.errors import DefinitionError, Unreachable


class ContainerBroker(Broker):
    """The image testcontainers takes for Kafka, in KRaft mode, one node.

    Raises:
        DefinitionError: testcontainers is not installed.
        Unreachable: no Docker engine answers, or the image does not start.
    """

    kind = "container"

    def __init__(self) -> None:
        try:
            from testcontainers.community.kafka import KafkaContainer
        except ModuleNotFoundError as error:
            raise DefinitionError(
                'The container broker needs testcontainers: pip install "tidegate[container]"'
            ) from error
        try:
            self._container = KafkaContainer().with_kraft().start()
        except Exception as error:
            # testcontainers passes on whatever the Docker client raises; there is no common root.
            raise Unreachable(f"no container could be started: {error}") from error
        self.bootstrap = self._container.get_bootstrap_server()

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create topics by number of partitions; those that exist are left alone."""
        create_by_admin(self.bootstrap, partitions, replication=1)

    def stop(self) -> None:
        """Remove the container."""
        self._container.stop()
