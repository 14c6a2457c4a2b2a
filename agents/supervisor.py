"""All roles on one host: each in a process of its own, started again when it fails."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from tidegate.agents.failstop import EXIT_DONE, EXIT_FAIL_STOP
from tidegate.agents.log import configure_logs
from tidegate.agents.roles import ALERTER, ROLES
from tidegate.agents.settings import Settings

_log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
_STOP_SECONDS = 8.0
# Spawned, not forked: librdkafka's threads do not survive a fork.
_processes = multiprocessing.get_context("spawn")


class Supervisor:
    """Keeps the roles running until it is stopped.

    A role that ends with 70 or by a signal is started again; one that refuses (2, 3) would
    refuse again, so everything ends with its exit code.
    """

    def __init__(
        self, settings: Settings, roles: Sequence[str] = ROLES, log_level: int = logging.INFO
    ) -> None:
        self._settings = settings
        self._log_level = log_level
        self._roles = tuple(roles)
        self._running: dict[str, SpawnProcess] = {}
        self._stopped = threading.Event()
        self.restarts = 0

    def start(self) -> None:
        """Start every role."""
        for role in self._roles:
            self._start(role)

    def watch(self) -> int:
        """Start again what fails, until `stop` or a refusal; the exit code. Blocks."""
        code = EXIT_DONE
        while not self._stopped.is_set():
            wait([process.sentinel for process in self._running.values()], timeout=0.2)
            for role, process in list(self._running.items()):
                if process.exitcode is None or self._stopped.is_set():
                    continue
                if 0 <= process.exitcode < EXIT_FAIL_STOP:
                    code = process.exitcode
                    self._stopped.set()
                    break
                _log.error("%s ended with %d and is started again", role, process.exitcode)
                self.restarts += 1
                self._stopped.wait(RESTART_SECONDS)
                self._start(role)
        self._end_all()
        return code

    def stop(self) -> None:
        """Ask for the end; `watch` returns when all roles have drained."""
        self._stopped.set()

    def _start(self, role: str) -> None:
        port = self._settings.web_port
        # Each role shows itself: on neighbouring ports when a port is given.
        settings = replace(self._settings, web_port=port and port + self._roles.index(role))
        process = _processes.Process(
            target=_run,
            args=(settings, role, self._log_level),
            name=f"tidegate-{role}",
            daemon=False,
        )
        process.start()
        self._running[role] = process

    def _end_all(self) -> None:
        # The ticker last: the others stop at the next tick.
        for role in reversed(self._roles):
            process = self._running[role]
            if process.is_alive():
                process.terminate()
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()


def _run(settings: Settings, role: str, log_level: int) -> None:
    """A role in its own process; ends when the supervisor does, however that ended."""
    # Ctrl-C reaches the supervisor too, which ends the ticker last: others stop at a tick.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from tidegate.agents.worker import run_to_exit

    configure_logs(role, log_level)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def follow() -> None:
            wait([sentinel])
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=follow, name="tidegate-parent", daemon=True).start()
    run_to_exit(settings, role)


def supervise(settings: Settings, log_level: int = logging.INFO) -> int:
    """All roles until SIGTERM or SIGINT; the exit code."""
    configure_logs("worker", log_level)
    roles = (*ROLES, ALERTER) if settings.alerts.addresses else ROLES
    supervisor = Supervisor(settings, roles, log_level=log_level)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.start()
    began = time.monotonic()
    code = supervisor.watch()
    _log.info("all roles ended", extra={"seconds": round(time.monotonic() - began, 1)})
    return code
