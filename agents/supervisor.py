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
from typing import Any

from tidegate.agents.failstop import EXIT_DONE, EXIT_UNREACHABLE, EXIT_WRONG_USE
from tidegate.agents.log import configure_logs
from tidegate.agents.roles import ALERTER, ROLES, roles_here
from tidegate.agents.settings import Settings

_log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
ABSENCE_SECONDS_MAX = 4.0
"""Between two attempts at brokers that are away: whoever tries waits as long for an answer."""
REFUSAL_SECONDS = 60.0
"""Between two attempts of an alerter that refuses."""
_STOP_SECONDS = 8.0
_LOOK_SECONDS = 0.2
# Spawned, not forked: librdkafka's threads do not survive a fork.
_processes = multiprocessing.get_context("spawn")


class Supervisor:
    """Keeps the roles running until it is stopped.

    A role that refuses (2) would refuse again, so everything ends with its exit code. So it does
    when no broker answers (3) and none ever did: the address is wrong. Brokers that did answer will
    again: until then the role is tried again and again, less and less often. Whatever else a role
    ends with, or by, it is started again. The alerter ends nobody: it tells people, and is no
    reason to decide nothing; what it refuses for may be mended while the others run.
    """

    def __init__(
        self, settings: Settings, roles: Sequence[str] = ROLES, log_level: int = logging.INFO
    ) -> None:
        self._settings = settings
        self._log_level = log_level
        self._roles = tuple(roles)
        self._running: dict[str, SpawnProcess] = {}
        self._due: dict[str, float] = {}
        self._delays: dict[str, float] = {}
        # Without a lock: a role that is killed while it holds one would hold it for ever.
        self._admitted = _processes.RawValue("b", 0)
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
            living = [process.sentinel for process in self._running.values()]
            wait(living, timeout=_LOOK_SECONDS)
            for role, process in list(self._running.items()):
                if process.exitcode is None or self._stopped.is_set():
                    continue
                if self._is_refusal(role, process.exitcode):
                    code = process.exitcode
                    self._stopped.set()
                    break
                self._put_off(role, process.exitcode)
            self._start_due()
        self._end_all()
        return code

    def stop(self) -> None:
        """Ask for the end; `watch` returns when all roles have drained."""
        self._stopped.set()

    def _is_refusal(self, role: str, code: int) -> bool:
        if role == ALERTER:
            return False
        if code == EXIT_UNREACHABLE:
            return not self._admitted.value
        return code == EXIT_WRONG_USE

    def _put_off(self, role: str, code: int) -> None:
        del self._running[role]
        before = self._delays.get(role, 0.0) if code == EXIT_UNREACHABLE else 0.0
        delay = min(max(RESTART_SECONDS, 2 * before), ABSENCE_SECONDS_MAX)
        if code == EXIT_WRONG_USE:
            delay = REFUSAL_SECONDS
        self._delays[role] = delay
        self._due[role] = time.monotonic() + delay
        _log.error("%s ended with %d and is started again in %.0f s", role, code, delay)

    def _start_due(self) -> None:
        for role, due in list(self._due.items()):
            if time.monotonic() >= due and not self._stopped.is_set():
                del self._due[role]
                self.restarts += 1
                self._start(role)

    def _start(self, role: str) -> None:
        port = self._settings.web_port
        # Each role shows itself: on neighbouring ports when a port is given.
        settings = replace(self._settings, web_port=port and port + self._roles.index(role))
        process = _processes.Process(
            target=_run,
            args=(settings, role, self._log_level, self._admitted),
            name=f"tidegate-{role}",
            daemon=False,
        )
        process.start()
        self._running[role] = process

    def _end_all(self) -> None:
        # The ticker last: the others stop at the next tick.
        for role in reversed(self._roles):
            process = self._running.get(role)
            if process is None:
                continue
            if process.is_alive():
                process.terminate()
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()


def _run(settings: Settings, role: str, log_level: int, admitted: Any) -> None:
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

    def admit() -> None:
        admitted.value = 1

    run_to_exit(settings, role, admit=admit)


def supervise(settings: Settings, log_level: int = logging.INFO) -> int:
    """All roles until SIGTERM or SIGINT; the exit code."""
    configure_logs("worker", log_level)
    supervisor = Supervisor(settings, roles_here(settings), log_level=log_level)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.start()
    began = time.monotonic()
    code = supervisor.watch()
    _log.info("all roles ended", extra={"seconds": round(time.monotonic() - began, 1)})
    return code
