"""One node of a local Apache Kafka: its files and its process."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.infra.brokers.jars import KAFKA_FILES
from tidegate.infra.processes import BoundProcess
from tidegate.schemas.errors import DefinitionError, Unreachable

# Small heaps and one compiler tier: these brokers live for minutes and share the machine.
SMALL_JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a node listens: for clients, and for the other controllers."""

    client: int
    controller: int


@dataclass(slots=True)
class Node:
    """A broker and controller in one JVM."""

    number: int
    ports: Ports
    folder: Path
    java: str
    jars: Path
    jvm: tuple[str, ...] = SMALL_JVM
    _process: BoundProcess | None = field(default=None, init=False)

    @property
    def alive(self) -> bool:
        """Whether the JVM runs."""
        return self._process is not None and self._process.alive

    def format(
        self, cluster_id: str, everyone: dict[int, Ports], extra: Mapping[str, str]
    ) -> None:
        """Write the configuration and, for a new data folder, format it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(
            _properties(self.number, everyone, self.folder / "data", extra), encoding="utf-8"
        )
        if (self.folder / "data" / "meta.properties").exists():
            return
        arguments = ["format", "-t", cluster_id, "-c", str(self._configuration)]
        done = subprocess.run(
            [*self._jvm(), "kafka.tools.StorageTool", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unreachable(f"Kafka's storage cannot be formatted:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start the JVM; it is ready some seconds later."""
        if self.alive:
            raise DefinitionError(f"node {self.number} runs already")
        command = [*self._jvm(), "kafka.Kafka", str(self._configuration)]
        self._process = BoundProcess(command, self.log)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the JVM."""
        if not self.alive or self._process is None:
            raise DefinitionError(f"node {self.number} does not run")
        self._process.send(number)

    def end(self, number: signal.Signals, seconds: float = 20) -> None:
        """End the JVM by a signal, by SIGKILL when that takes longer than `seconds`."""
        if self._process is not None:
            self._process.end(number, seconds)
            self._process = None

    @property
    def log(self) -> Path:
        """What the JVM said."""
        return self.folder / "kafka.log"

    @property
    def _configuration(self) -> Path:
        return self.folder / "server.properties"

    def _jvm(self) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={(KAFKA_FILES / 'log4j2.properties').as_uri()}"
        return [self.java, *self.jvm, logging, "-cp", f"{self.jars}/*"]


def _properties(
    number: int, everyone: dict[int, Ports], data: Path, extra: Mapping[str, str]
) -> str:
    ports = everyone[number]
    count = len(everyone)
    voters = ",".join(f"{node}@127.0.0.1:{each.controller}" for node, each in everyone.items())
    listeners = f"PLAINTEXT://127.0.0.1:{ports.client},CONTROLLER://127.0.0.1:{ports.controller}"
    majority = count // 2 + 1
    settings = {
        "process.roles": "broker,controller",
        "node.id": number,
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{ports.client}",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "default.replication.factor": count,
        "min.insync.replicas": majority,
        "offsets.topic.replication.factor": count,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": count,
        "transaction.state.log.min.isr": majority,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": count,
        "share.coordinator.state.topic.min.isr": majority,
        "group.initial.rebalance.delay.ms": 0,
        "auto.create.topics.enable": "false",
        # A node that was killed may register again only when its old session is over.
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 3_000,
        "num.network.threads": 1,
        "num.io.threads": 2,
        # Tests force compaction by small segments; the cleaner must then look often enough.
        "log.cleaner.backoff.ms": 500,
        "log.cleaner.dedupe.buffer.size": 4_194_304,
        **extra,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
