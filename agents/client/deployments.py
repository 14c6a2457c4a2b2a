"""An instance obeys the decider's commands, and says on `applied` what runs on it.

What a command means here, a `Host` knows: it starts and ends model servers. This module knows which
commands to leave alone: those for others, those obeyed already, expired ones and those of older
generations. Words are whole and said again every few seconds, so a lost one is made up for.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, Protocol

from tidegate.agents.client.client import Client
from tidegate.schemas.events import Applied, Command, ModelServer
from tidegate.streams.smoke import difference

_log = logging.getLogger(__name__)

OK = "OK"
SEEN_MAX = 10_000
DETAIL_CHARACTERS_MAX = 500
_ROUND_SECONDS = 0.2

Artifact = tuple[str, str]
"""(model, version)."""


class Host(Protocol):
    """What starts and ends model servers here. Methods may take as long as they need.

    Whatever they raise is what the instance answers: FAILED, with the error's words.
    """

    def servers(self) -> Sequence[ModelServer]:
        """What runs now, what is ending too; called often, from another thread than the others."""

    def start(self, model: str, version: str, artifact: str) -> None:
        """Runs a version, and returns once it is well; one that runs already is left alone."""

    def end(self, model: str, version: str) -> None:
        """Ends a version once it has answered what it had begun; one that is not there is none."""

    def ask(self, model: str, version: str, request: Any) -> Any:
        """The answer of a running version, plain JSON values."""


@dataclass(frozen=True, slots=True)
class _Answer:
    command_id: str | None = None
    outcome: str | None = None
    detail: str | None = None


class Instance:
    """Keeps one instance of an experiment's serving layer under command.

    Args:
        client: reads `commands` and writes `applied`; told which versions are loaded for the
            experiment. It may have instances of other experiments as well.
        experiment: whose commands are obeyed.
        host: starts and ends model servers.
        name: names the instance in commands and decisions; by default the client's own.
        beat_seconds: how often it says that it is there.
    """

    def __init__(
        self, client: Client, experiment: str, host: Host, name: str = "",
        beat_seconds: float = 3.0,
    ) -> None:
        self._client = client
        self._experiment = experiment
        self._host = host
        self.name = name or client.instance
        self._beat_seconds = beat_seconds
        self._waiting: SimpleQueue[Command] = SimpleQueue()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._generation = 0
        self._answer = _Answer()
        self._withdrawn: set[Artifact] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.counters: Counter[str] = Counter()
        client.on_command(self._waiting.put)
        self._threads = [
            threading.Thread(target=target, name=f"tidegate-{what}", daemon=True)
            for what, target in (("instance", self._obey), ("instance-beat", self._beat))
        ]
        for thread in self._threads:
            thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Says goodbye; model servers are the host's, and go on."""
        self._closing.set()
        for thread in self._threads:
            thread.join(seconds)
        self._say("GOODBYE", ())

    # -- commands

    def _obey(self) -> None:
        while not self._closing.is_set():
            try:
                command = self._waiting.get(timeout=_ROUND_SECONDS)
            except Empty:
                continue
            why = self._no_business(command)
            if why:
                self.counters[f"commands_{why}"] += 1
                continue
            self._seen[command.command_id] = None
            while len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)
            self._generation = command.generation
            self.counters["commands_obeyed"] += 1
            _log.info("%s %s: %s", command.kind, command.command_id, command.reason)
            self._answer = self._carry_out(command)

    def _no_business(self, command: Command) -> str:
        """Why a command is left alone, empty when it is not."""
        asked = command.arguments.get("instance")
        if command.experiment != self._experiment or command.kind not in self._kinds:
            return "of_others"
        if asked not in ("", self.name):
            return "for_others"
        if command.command_id in self._seen:
            return "repeated"
        if command.generation < self._generation:
            return "of_old_generation"
        if command.expires_at and self._client.log_time_ms > command.expires_at:
            return "expired"
        return ""

    def _carry_out(self, command: Command) -> _Answer:
        try:
            outcome, detail = self._kinds[command.kind](self, command)
        except Exception as error:
            _log.exception("%s failed", command.kind)
            outcome, detail = "FAILED", str(error) or type(error).__name__
        return _Answer(command.command_id, outcome, (detail or "")[:DETAIL_CHARACTERS_MAX] or None)

    def _run(self, command: Command) -> tuple[str, str]:
        arguments = command.arguments
        model, version = arguments["model"], arguments["version"]
        replaced = (arguments.get("replaces_model"), arguments.get("replaces_version"))
        if replaced[0] and replaced[1] and replaced != (model, version):
            self._withdraw(replaced[0], replaced[1])
        self._host.start(model, version, arguments.get("artifact", ""))
        with self._lock:
            self._withdrawn.discard((model, version))
        return "DONE", ""

    def _end(self, command: Command) -> tuple[str, str]:
        self._withdraw(command.arguments["model"], command.arguments["version"])
        return "DONE", ""

    def _withdraw(self, model: str, version: str) -> None:
        """No request is given to a server that is about to end."""
        with self._lock:
            self._withdrawn.add((model, version))
        self._tell_loaded()
        self._host.end(model, version)
        with self._lock:
            self._withdrawn.discard((model, version))

    def _smoke(self, command: Command) -> tuple[str, str]:
        """Asks every case; the first answer that differs, or does not come, fails."""
        arguments = command.arguments
        names = [name for name in arguments if name.startswith("case.")]
        if not names:
            return "FAILED", "no case was given"
        for name in sorted(names, key=lambda text: int(text.removeprefix("case."))):
            case = json.loads(arguments[name])
            found = self._host.ask(arguments["model"], arguments["version"], case["request"])
            said = difference(case["expect"], found, case["tolerance"], name.replace(".", " "))
            if said:
                return "FAILED", said
        return "PASSED", ""

    _kinds: ClassVar[dict[str, Callable[[Instance, Command], tuple[str, str]]]] = {
        "DEPLOY": _run, "START": _run, "RETIRE": _end, "STOP": _end, "SMOKE": _smoke,
    }

    # -- words

    def _beat(self) -> None:
        said: Any = None
        said_at = float("-inf")
        while not self._closing.wait(_ROUND_SECONDS):
            try:
                servers = self._tell_loaded()
                now, whole = time.monotonic(), (servers, self._answer)
                if whole != said or now - said_at >= self._beat_seconds:
                    self._say("CHANGE" if whole != said else "HEARTBEAT", servers)
                    said, said_at = whole, now
            except Exception:
                _log.exception("an instance could not say what runs on it; trying again")

    def _tell_loaded(self) -> tuple[ModelServer, ...]:
        """Looks what runs and tells the client, in one: an older look must not be told later."""
        with self._lock:
            servers = tuple(self._host.servers())
            loaded = {(item.model, item.version) for item in servers if item.health == OK}
            self._client.set_loaded(loaded - self._withdrawn, self._experiment)
        return servers

    def _say(self, kind: str, servers: Sequence[ModelServer]) -> None:
        answer = self._answer
        unwell = any(item.health != OK for item in servers)
        self._client.emit_applied(Applied(
            client_id=self._client.client_id, instance=self.name, experiment=self._experiment,
            epoch=0, version=0, generation=self._generation,
            applied_at=time.time_ns() // 1_000_000,
            models={item.model: item.version for item in servers if item.health == OK},
            health="DEGRADED" if unwell else "OK", kind=kind, servers=tuple(servers),
            command_id=answer.command_id, outcome=answer.outcome, detail=answer.detail,
        ))
