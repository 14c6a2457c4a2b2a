"""Processes that end when whoever started them does, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class BoundProcess:
    """A process with its output in a file, bound to the life of this one.

    A guard waits for the end of a pipe that only we hold and then kills the process, so that a
    parent which is itself killed leaves nothing running. Neither hears Ctrl-C: the parent decides
    in which order things end.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", 'cat >/dev/null; kill -9 "$0" 2>/dev/null', str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; negative is a signal; None while it runs."""
        return self._process.poll()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.exit_code is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one that has ended is left alone."""
        if self.alive:
            os.kill(self._process.pid, number)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> None:
        """End it by a signal, by SIGKILL when that takes longer than `seconds`."""
        # The guard first: when the process has ended, its number may belong to another.
        self._guard.kill()
        self._guard.communicate()
        self.send(number)
        # A paused process obeys only once it goes on.
        self.send(signal.SIGCONT)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
