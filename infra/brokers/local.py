"""The local broker: Apache Kafka in KRaft mode from Maven's jars, one node or three."""

from __future__ import annotations

import base64
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from tidegate.infra.brokers.base import Broker, create_by_admin
from tidegate.infra.brokers.jars import java_command, kafka_jars
from tidegate.infra.brokers.nodes import SMALL_JVM, Node, Ports
from tidegate.infra.brokers.ports import free_ports, listens
from tidegate.schemas.errors import DefinitionError, Unreachable

_READY_SECONDS_MAX = 60.0
_CLUSTER_ID = "cluster.id"


def tell_on_stderr(sentence: str) -> None:
    """Progress for people, out of the way of what a command prints."""
    sys.stderr.write(sentence + "\n")


class LocalBroker(Broker):
    """An Apache Kafka of our own on free loopback ports.

    Args:
        nodes: how many; each is broker and controller.
        data: keeps the data between runs; a temporary folder, removed at `stop`, when None.
        jvm: options of each node's Java; small by default, a benchmark gives it more.
        port: where clients of node 1 find it if it is free; any free one otherwise.
        extra: settings of a node besides ours, by its number and ports; they win.
        tell: is given one sentence when something takes long.

    Raises:
        DefinitionError: Java or Maven is missing, with what to install.
        Unreachable: the jars could not be fetched, or Kafka did not get ready; its log is quoted.
    """

    kind = "local"

    def __init__(
        self,
        nodes: int = 1,
        data: Path | None = None,
        port: int = 0,
        jvm: tuple[str, ...] = SMALL_JVM,
        extra: Callable[[int, Ports], Mapping[str, str]] = lambda _number, _ports: {},
        tell: Callable[[str], None] = tell_on_stderr,
    ) -> None:
        if nodes < 1:
            raise DefinitionError(f"a cluster needs at least one node, not {nodes}")
        java, jars = java_command(), kafka_jars(tell)
        self._temporary = data is None
        self._folder = data or Path(tempfile.mkdtemp(prefix="tidegate-kafka-"))
        numbers = free_ports(2 * nodes, port)
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        everyone = {number: Ports(*pair) for number, pair in enumerate(pairs, start=1)}
        self._nodes = {
            number: Node(number, ports, self._folder / f"node-{number}", java, jars, jvm)
            for number, ports in everyone.items()
        }
        self.bootstrap = ",".join(f"127.0.0.1:{each.client}" for each in everyone.values())
        try:
            cluster_id = self._cluster_id()
            for node in self._nodes.values():
                node.format(cluster_id, everyone, extra(node.number, node.ports))
            for node in self._nodes.values():
                node.start()
            self._wait()
        except BaseException:
            self.stop()
            raise

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create topics by number of partitions; those that exist are left alone."""
        create_by_admin(self.bootstrap, partitions, replication=len(self._nodes))

    def kill(self, node: int = 1) -> None:
        """End a node by SIGKILL; its data stays."""
        self._node(node).end(signal.SIGKILL)

    def restart(self, node: int = 1) -> None:
        """Start a node that was killed and wait until the cluster answers with all its nodes."""
        self._node(node).start()
        self._wait()

    def pause(self, node: int = 1) -> None:
        """Stop a node's process by SIGSTOP."""
        self._node(node).send(signal.SIGSTOP)

    def resume(self, node: int = 1) -> None:
        """Let a paused node go on."""
        self._node(node).send(signal.SIGCONT)

    def stop(self) -> None:
        """End all nodes; remove the data unless a folder was given."""
        # A temporary folder needs no orderly shutdown; kept data does, or recovery takes long.
        number = signal.SIGKILL if self._temporary else signal.SIGTERM
        for node in self._nodes.values():
            node.end(number)
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _node(self, number: int) -> Node:
        if number not in self._nodes:
            raise DefinitionError(f"there is no node {number}; nodes are 1 to {len(self._nodes)}")
        return self._nodes[number]

    def _cluster_id(self) -> str:
        kept = self._folder / _CLUSTER_ID
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            fresh = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            # A leading dash would be read as an option.
            kept.write_text("A" + fresh[1:], encoding="ascii")
        return kept.read_text(encoding="ascii")

    def _wait(self) -> None:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        deadline = time.monotonic() + _READY_SECONDS_MAX
        running = {node.ports.client for node in self._nodes.values() if node.alive}
        for node in self._nodes.values():
            while node.alive and not listens(node.ports.client):
                self._not_too_long(node, deadline)
            if node.ports.client in running and not node.alive:
                raise Unreachable(f"Apache Kafka ended at once:\n{_tail(node.log)}")
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        while True:
            try:
                if len(admin.list_topics(timeout=2).brokers) >= len(running):
                    return
            except KafkaException:
                pass
            self._not_too_long(self._nodes[1], deadline)

    def _not_too_long(self, node: Node, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise Unreachable(
                f"Apache Kafka at {self.bootstrap} was not ready in {_READY_SECONDS_MAX:.0f} s:\n"
                + _tail(node.log)
            )
        time.sleep(0.05)


def _tail(log: Path, lines: int = 15) -> str:
    if not log.exists():
        return "(it wrote no log)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
