"""Everything the demo runs: broker, worker, serving processes, traffic, each in its process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tidegate.agents.kafka import Tail
from tidegate.agents.settings import Settings
from tidegate.agents.topics import apply_topics
from tidegate.infra.brokers import Broker, open_broker
from tidegate.infra.processes import BoundProcess
from tidegate.schemas.errors import Unreachable

SERVERS = 2
_START_SECONDS_MAX = 90.0
_LOG_LINES = 15
_MANIFESTS = Path(__file__).resolve().parent


class Stage:
    """Starts things one by one and ends them all, however the demo ends.

    Args:
        settings: of the user; the demo takes their Kafka settings when `choice` is an address.
        choice: `embedded`, `local`, `container` or HOST:PORT.
    """

    def __init__(self, settings: Settings, choice: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-demo-"))
        self.settings_file = self.folder / "tidegate.yaml"
        self._models = self.folder / "models.pickle"
        self._status = self.folder / "traffic.json"
        self._choice = choice
        self.settings = replace(
            settings,
            prefix=f"demo-{uuid.uuid4().hex[:6]}.",
            partitions=2,
            decision_partitions=1,
            state_dir=self.folder / "state",
            # Outcomes come within seconds here: nobody waits half a minute for late ones.
            early_tolerance_ms=2_000,
            grace_ms=1_000,
        )
        self._broker: Broker | None = None
        self._processes: dict[str, BoundProcess] = {}

    def start_broker(self) -> Broker:
        """The broker with all topics.

        Raises:
            DefinitionError: it cannot be started here; the message says what to install.
            Unreachable: it does not answer.
        """
        self._broker = open_broker(self._choice)
        self.settings = self.settings.with_bootstrap(self._broker.bootstrap, "--kafka")
        apply_topics(self.settings, self._broker)
        self.settings_file.write_text(json.dumps(_document(self.settings)), encoding="utf-8")
        return self._broker

    def start_worker(self) -> None:
        """Joiner, decider and ticker."""
        self._start("worker", "-m", "tidegate", "worker", "--config", str(self.settings_file))

    def await_worker(self) -> None:
        """Return when the decider says that it is there: then time moves and orders are heard.

        Raises:
            Unreachable: a process ended, or the decider was not heard.
        """
        with Tail(self.settings, ["commands"]) as tail:
            self._wait(lambda: any(record.value is not None for record in tail.poll(0.1)))

    def train(self) -> None:
        """Train the models, in a process of its own: River is slow to import."""
        code = (
            "import sys, pathlib; from tidegate.agents.demo import models;"
            "models.save(models.train(), pathlib.Path(sys.argv[1]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(self._models)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unreachable(f"the models could not be trained:\n{done.stderr}")

    def start_serving(self) -> list[int]:
        """The serving processes; the ports they listen on.

        Raises:
            Unreachable: one of them ended or did not get ready; its log is quoted.
        """
        ports = [self.folder / f"serving-{number}.port" for number in range(1, SERVERS + 1)]
        for path in ports:
            module = ("-m", "tidegate.agents.demo.serving")
            files = (self.settings_file, self._models, path)
            self._start(path.stem, *module, *map(str, files))
        self._wait(lambda: all(path.exists() for path in ports))
        return [int(path.read_text(encoding="ascii")) for path in ports]

    def start_traffic(self, ports: list[int]) -> None:
        """Users."""
        files = (str(self.settings_file), str(self._status))
        module = ("-m", "tidegate.agents.demo.traffic")
        self._start("traffic", *module, *files, *map(str, ports))

    def end_traffic(self) -> None:
        """No more users; the others go on."""
        self._processes.pop("traffic").end()

    def end_processes(self) -> None:
        """End everything but the broker, those that were started last first."""
        for name in reversed(list(self._processes)):
            self._processes.pop(name).end()

    @property
    def is_bare(self) -> bool:
        """Whether nothing but, perhaps, the broker was started."""
        return not self._processes

    def requests(self) -> Mapping[str, int]:
        """What users saw until now."""
        if not self._status.exists():
            return {}
        seen: dict[str, int] = json.loads(self._status.read_text(encoding="utf-8"))
        return seen

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `tidegate` command as a user would, from the folder of the manifests."""
        return subprocess.run(
            [sys.executable, "-m", "tidegate", *arguments, "--config", str(self.settings_file)],
            cwd=_MANIFESTS,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def check(self) -> None:
        """Return while everything runs.

        Raises:
            Unreachable: a process ended by itself; its log is quoted.
        """
        for name, process in self._processes.items():
            if not process.alive:
                raise Unreachable(
                    f"{name} ended with {process.exit_code}:\n{_tail(self.folder / f'{name}.log')}"
                )

    def close(self, keep: bool = False) -> None:
        """End everything; `keep` leaves the logs of the processes in their folder."""
        self.end_processes()
        if self._broker is not None:
            self._broker.stop()
            self._broker = None
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name: str, *arguments: str) -> None:
        command = [sys.executable, *arguments]
        self._processes[name] = BoundProcess(command, self.folder / f"{name}.log")

    def _wait(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise Unreachable(f"not everything started within {_START_SECONDS_MAX:.0f} s")
            time.sleep(0.05)


def _document(settings: Settings) -> dict[str, object]:
    """Settings as a file holds them: only what differs from the defaults."""
    defaults = Settings()
    fields = {
        name: getattr(settings, name)
        for name in Settings.__dataclass_fields__
        if name not in ("origins", "alerts") and getattr(settings, name) != getattr(defaults, name)
    }
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in fields.items()
    }


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LOG_LINES:]) or "(it said nothing)"
