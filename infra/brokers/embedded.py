"""The embedded broker: librdkafka's mock cluster in a process of its own.

It needs nothing but the installed confluent-kafka and starts in a tenth of a second. Topics are
created through us, for it has no CreateTopics of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.infra.brokers.base import Broker
from tidegate.schemas.errors import DefinitionError, Unreachable


class EmbeddedBroker(Broker):
    """A mock cluster; `kill` and `restart` cut and restore a node's network, data stays."""

    kind = "embedded"
    limits = (
        "keeps the last 5 MB or 100,000 records of a partition, in memory only",
        "does not compact, and keeps no topic settings",
        "topics are created by the process that started it, not by AdminClient",
        "transactions are not isolated; long polls are not woken",
        "one record set a fetch: a service that starts late reads every tick by itself and"
        " answers by default meanwhile; for longer sessions take --kafka local",
    )

    def __init__(self, nodes: int = 1) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tidegate.infra.brokers.mock_cluster", str(nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the parent; it stops the broker last.
            start_new_session=True,
        )
        self.bootstrap = self._answer()["bootstrap"]

    @property
    def pid(self) -> int:
        """Number of the cluster's process."""
        return self._process.pid

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create topics by number of partitions; those that exist are left alone."""
        self._ask("create", topics=dict(partitions))

    def kill(self, node: int = 1) -> None:
        """Close the node's connections and refuse new ones."""
        self._ask("down", node=node)

    def restart(self, node: int = 1) -> None:
        """Accept connections to the node again."""
        self._ask("up", node=node)

    def pause(self, node: int = 1) -> None:
        """Stop the whole cluster where it stands: all nodes are one process."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self, node: int = 1) -> None:
        """Let the paused cluster go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def delay(self, round_trip_ms: int, node: int = 1) -> None:
        """Answer every request to the node after this time."""
        self._ask("delay", node=node, round_trip_ms=round_trip_ms)

    def lead(self, topic: str, partition: int, node: int) -> None:
        """Move a partition's leader to the node."""
        self._ask("lead", topic=topic, partition=partition, node=node)

    def fail(self, api_key: int, codes: Sequence[int]) -> None:
        """Answer the next requests of a Kafka API with these error codes, one each."""
        self._ask("fail", api_key=api_key, codes=list(codes))

    def stop(self) -> None:
        """End the process and forget all data."""
        with self._lock:
            if self._process.stdin is None or self._process.stdin.closed:
                return
            self._process.kill()
            self._process.communicate()

    def _ask(self, verb: str, **arguments: Any) -> None:
        with self._lock:
            stdin = self._process.stdin
            if stdin is None or stdin.closed:
                raise Unreachable(f"the embedded broker at {self.bootstrap} was stopped")
            try:
                stdin.write(json.dumps({"verb": verb, "arguments": arguments}) + "\n")
                stdin.flush()
            except BrokenPipeError as error:
                raise Unreachable(f"the embedded broker at {self.bootstrap} is gone") from error
            self._answer()

    def _answer(self) -> dict[str, str]:
        stdout = self._process.stdout
        line = stdout.readline() if stdout is not None else ""
        if not line:
            raise Unreachable("the process of the embedded broker ended without an answer")
        answer: dict[str, str] = json.loads(line)
        if "error" in answer:
            raise DefinitionError(f"the embedded broker refused: {answer['error']}")
        return answer
