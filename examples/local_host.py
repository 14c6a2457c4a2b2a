"""Model servers of one instance: processes (`model_server.py`), one a version, and what shall run.

`versions.json` says what there is to run, in place of a model registry:
`{"ranker/v1": {"slope": 1.0}, "ranker/v2": {"slope": 2.0}}`. What commands have left running is
kept in a folder, so an instance that starts anew runs that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.schemas.events import ModelServer

SERVER = Path(__file__).resolve().with_name("model_server.py")
START_SECONDS_MAX = 20.0
ANSWER_SECONDS_MAX = 5.0

Artifact = tuple[str, str]


class Running:
    """A model server's process; ends with this one."""

    def __init__(self, artifact: Artifact, parameters: Mapping[str, Any], folder: Path) -> None:
        model, version = artifact
        self._port_file = folder / f"{model}-{version}-{os.getpid()}-{time.monotonic_ns()}.port"
        self.health = "STARTING"
        self._ending = False
        self._process = subprocess.Popen(
            [
                sys.executable, str(SERVER), "--model", model, "--version", version,
                "--port-file", str(self._port_file), "--parameters", json.dumps(parameters),
            ],
            stdin=subprocess.PIPE,
        )  # fmt: skip
        self.port = 0

    def await_health(self) -> None:
        """Returns when it is well.

        Raises:
            RuntimeError: it ended, is not well, or takes too long.
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the model server ended with {self._process.returncode}")
            if self.port == 0 and self._port_file.exists():
                self.port = int(self._port_file.read_text(encoding="ascii"))
            if self.port and self.look() == "OK":
                return
            time.sleep(0.05)
        raise RuntimeError(f"the model server was not well after {START_SECONDS_MAX:.0f} s")

    def look(self) -> str:
        """Asks it how it is; one that was well and is not is DEGRADED."""
        well = False
        if self.port and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2):
                    well = True
            except (OSError, urllib.error.HTTPError):
                well = False
        if self._ending:
            self.health = "ENDING"
            return self.health
        self.health = "OK" if well else "STARTING" if self.health == "STARTING" else "DEGRADED"
        return self.health

    def ask(self, request: Any) -> Any:
        """Its answer; raises OSError when it has none."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/predict",
            json.dumps(request).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS_MAX) as answer:
            return json.load(answer)

    def end(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long; returns when the process is gone."""
        self._ending, self.health = True, "ENDING"
        self._process.terminate()
        try:
            self._process.wait(ANSWER_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._port_file.unlink(missing_ok=True)


class LocalHost:
    """Model servers of this instance, as `tidegate`'s Instance wants them."""

    def __init__(self, versions: Path, folder: Path) -> None:
        self._versions = versions
        self._folder = folder
        self._wanted = folder / "wanted.json"
        self._running: dict[Artifact, Running] = {}
        self._shall_run: set[Artifact] = set()
        self._ran: set[Artifact] = set()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self, otherwise: Sequence[str]) -> None:
        """Runs what commands have left running, or `otherwise` (`model/version`) before any.

        That is still what shall run when some do not start now. Raises when none of them does.
        """
        names = list(otherwise)
        if self._wanted.exists():
            names = json.loads(self._wanted.read_text(encoding="utf-8"))
        parts = (name.partition("/") for name in names)
        self._shall_run = self._ran = {(model, version) for model, _, version in parts}
        failed: list[Exception] = []
        for model, version in sorted(self._shall_run):
            try:
                self._start(model, version)
            except (LookupError, RuntimeError) as error:
                sys.stderr.write(f"{model} {version} does not start: {error}\n")
                failed.append(error)
        if failed and not self._running:
            raise failed[0]

    def servers(self) -> tuple[ModelServer, ...]:
        """What runs, and how it is."""
        with self._lock:
            running = sorted(self._running.items())
        return tuple(
            ModelServer(model=model, version=version, health=item.health)
            for (model, version), item in running
        )

    def watch(self) -> None:
        """Looks after all of them, for ever."""
        while True:
            time.sleep(0.5)
            for item in list(self._running.values()):
                item.look()

    def start(self, model: str, version: str, artifact: str = "") -> None:
        """Starts a version, waits until it is well, and keeps in mind that it shall run."""
        try:
            self._start(model, version)
        except (LookupError, RuntimeError):
            if not self._shall_run:
                # What was to be replaced has ended already: it is what shall run all the same.
                self._remember(self._ran)
            raise
        self._remember(self._shall_run | {(model, version)})

    def _start(self, model: str, version: str) -> None:
        known = json.loads(self._versions.read_text(encoding="utf-8"))
        parameters = known.get(f"{model}/{version}")
        if parameters is None:
            raise LookupError(f"{model} {version} is not in {self._versions.name}")
        place = (model, version)
        with self._lock:
            item = self._running.get(place)
        if item is not None and item.look() == "OK":
            return
        if item is not None:
            item.end()
        item = Running(place, parameters, self._folder)
        with self._lock:
            self._running[place] = item
        try:
            item.await_health()
        except RuntimeError:
            self._end(model, version)
            raise

    def end(self, model: str, version: str) -> None:
        """Ends a version, and keeps in mind that it shall not run."""
        self._end(model, version)
        self._remember(self._shall_run - {(model, version)})

    def _end(self, model: str, version: str) -> None:
        with self._lock:
            item = self._running.get((model, version))
        if item is None:
            return
        item.end()
        # Until then it is there: what runs beside it must not be told that it is alone.
        with self._lock:
            self._running.pop((model, version), None)

    def end_all(self) -> None:
        """Ends every process; what shall run is kept for the next time."""
        for item in list(self._running.values()):
            item.end()

    def ask(self, model: str, version: str, request: Any) -> Any:
        """The answer of a version."""
        with self._lock:
            item = self._running.get((model, version))
        if item is None:
            raise LookupError(f"{model} {version} does not run here")
        return item.ask(request)

    def _remember(self, shall_run: set[Artifact]) -> None:
        """Only what a command has brought about: what fails or dies is still wanted."""
        self._shall_run = shall_run
        self._ran = shall_run or self._ran
        names = sorted("/".join(place) for place in shall_run)
        written = self._wanted.with_suffix(".new")
        written.write_text(json.dumps(names), encoding="utf-8")
        written.replace(self._wanted)
