"""A live joiner on a broker: services, a ticker, workers that are started again, and a verdict."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.faults.freshness import Freshness
from tests.faults.judging import Judge
from tests.faults.launcher import VARIABLE
from tests.faults.rows import Row
from tests.integration.world import Traffic, World, with_short_horizons
from tidegate.agents.failstop import EXIT_FAIL_STOP, EXIT_UNREACHABLE
from tidegate.agents.settings import Settings
from tidegate.agents.supervisor import RESTART_SECONDS
from tidegate.agents.topics import apply_topics
from tidegate.infra.brokers import Broker

SESSION_SECONDS = 6.0
REQUESTS_PER_SECOND = 60
RECOVERY_SECONDS_MAX = 600.0
"""Generous: a busy machine is slow, not wrong; how long it took stands in the row."""
_LOOK_SECONDS = 0.05
_SECOND_NUMBER = 10_000_000
_CLOSING_SECONDS = 4.0
"""Longer than reward wait, grace and early wait of `with_short_horizons`."""
_VERDICT_SECONDS = 300.0
_LAUNCHER = ("tests.faults.launcher",)
_HEALTH_SECONDS = 2.0
Orders = Mapping[str, Any]

OFTEN: Orders = {"chunk_bytes": 2_000, "segment_records": 120}
"""Obeyed by all workers: what they write depends on it. Checkpoints and segments are of several
chunks, and requests lie in segments, as they do where windows are long."""


def quick_settings(broker: Broker, folder: Path, nodes: int = 1) -> Settings:
    """Fresh topics; checkpoints, sessions and horizons so short that much happens in a minute."""
    settings = replace(
        with_short_horizons(Settings(kafka={"bootstrap.servers": broker.bootstrap})),
        prefix=f"fault-{uuid.uuid4().hex[:8]}.",
        state_dir=folder / "state",
        checkpoint_records=500,
        checkpoint_seconds=1.0,
        session_timeout_seconds=SESSION_SECONDS,
        # What readers and the verdict cost goes by batches.
        emit_interval_ms=500,
        decision_partitions=2,
        replication=nodes,
    )
    apply_topics(settings, broker)
    return settings


class NotRecovered(Exception):
    """A fault was not got over in time; its message says what was waited for."""


@dataclass(slots=True)
class Member:
    """A process of the scene, what it was ordered, and whether its end is expected."""

    role: str
    process: subprocess.Popen[bytes]
    expected: bool = False


def _listens(pid: int) -> bool:
    """Whether a process catches SIGUSR1 by now: until then it would die of it."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)  # type: ignore[index]  # always there
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)


class Scene:
    """Everything live in one row; everything it started ends with it.

    `workers_at` may be another broker address than everyone else's: that of a proxy.
    """

    role = "joiner"
    """Of the workers that faults are done to."""

    def __init__(
        self, settings: Settings, folder: Path, row: Row, *,
        workers_at: str = "", requests_per_second: int = REQUESTS_PER_SECOND, seed: int = 1,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.row = row
        self.log = folder / "processes.log"
        self._world = World(settings, self.log)
        self._workers_at = workers_at
        self._freshness = Freshness(settings)
        self._judge: Judge | None = None
        self._traffic = Traffic(settings, requests_per_second, seed)
        self._rate = requests_per_second
        self.members: list[Member] = []

    # -- who is there

    def begin(self, orders: Orders | None = None) -> Member:
        """A ticker, services, one worker that works; returns the worker."""
        self.start("ticker")
        self._freshness.start()
        worker = self.start("joiner", orders)
        self._traffic.start()
        self.recover(time.time(), noted=False)
        return worker

    def start(self, role: str = "", orders: Orders | None = None) -> Member:
        """Another process, a worker if no role is named; workers obey the orders."""
        role = role or self.role
        extra = {"TIDEGATE_REPLICATION": str(self.settings.replication)}
        command: tuple[str, ...] = ("tidegate", "worker", "--role")
        if role == self.role:
            command = _LAUNCHER
            extra[VARIABLE] = json.dumps({**OFTEN, **(orders or {})})
            if self._workers_at:
                extra["TIDEGATE_BOOTSTRAP"] = self._workers_at
        member = Member(role, self._world.start(role, command, extra))
        self.members.append(member)
        return member

    def workers(self) -> list[Member]:
        """Those that live, oldest first."""
        return [each for each in self.members if each.role == self.role and not each.expected]

    def send(self, member: Member, number: signal.Signals) -> float:
        """Send a signal; when, in seconds. Who is killed or asked to leave is not started again."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            member.expected = True
        member.process.send_signal(number)
        return time.time()

    def arm(self, member: Member) -> float:
        """Tell a worker that what it was ordered to do wrong is to happen from now on; when.

        Raises:
            NotRecovered: it ended before that.
        """
        listens = partial(_listens, member.process.pid)
        self.wait(
            lambda: member.process.poll() is not None or listens(),
            "a worker that listens",
            RECOVERY_SECONDS_MAX,
        )
        if member.process.poll() is not None:
            raise NotRecovered(f"a worker ended with {member.process.returncode} before its fault")
        return self.send(member, signal.SIGUSR1)

    def ended(self, member: Member, seconds: float = 300.0) -> tuple[int, float]:
        """Wait until a process has ended by itself: its exit code, and when."""
        member.expected = True
        self.wait(lambda: member.process.poll() is not None, "a worker to end", seconds)
        return member.process.returncode, time.time()

    def red(self, member: Member, seconds: float) -> float | None:
        """Wait until /healthz of the newest worker is red: when. None when it ended before that."""
        address, red_at = self._world.web_address(self.role), list[float]()

        def is_red_or_gone() -> bool:
            try:
                urllib.request.urlopen(f"{address}/healthz", timeout=_HEALTH_SECONDS).close()
            except urllib.error.HTTPError as error:
                if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
                    red_at.append(time.time())
            except OSError:
                """It ends, or is too busy to answer."""
            return bool(red_at) or member.process.poll() is not None

        member.expected = True
        self.wait(is_red_or_gone, "red health", seconds)
        return red_at[0] if red_at else None

    def tend(self) -> None:
        """What a supervisor does: who ended unasked is started again, a second later."""
        for member in list(self.members):
            code = member.process.poll()
            if code is None:
                continue
            if member.expected:
                self.members.remove(member)
                continue
            self.row.ended[code] += 1
            if code not in (EXIT_FAIL_STOP, EXIT_UNREACHABLE):
                self.row.failures.append(f"a {member.role} ended with {code}")
            self.members.remove(member)
            time.sleep(RESTART_SECONDS)
            self.start(member.role)

    # -- waiting

    def wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Tend until a condition holds.

        Raises:
            NotRecovered: it does not in time.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise NotRecovered(f"waited {seconds:.0f} s for {what}")
            self.tend()
            time.sleep(_LOOK_SECONDS)

    def now(self) -> float:
        """The clock of facts, in seconds."""
        return time.time()

    def rest(self, seconds: float) -> None:
        """Let time pass."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.tend()
            time.sleep(min(_LOOK_SECONDS, left))

    def rest_of_supervisor(self) -> None:
        """The second that `Supervisor` waits before it starts a process again."""
        self.rest(RESTART_SECONDS)

    def recover(
        self, since: float, *, noted: bool = True, seconds: float = RECOVERY_SECONDS_MAX
    ) -> float:
        """Wait until every partition has told of facts younger than `since`; how long it took."""
        self.wait(lambda: self.is_fresh(since), "facts of all partitions", seconds)
        return self.recovered(since, noted=noted)

    def is_fresh(self, since: float) -> bool:
        """Whether every partition has told of facts younger than `since` by now."""
        return self._freshness.since(since) is not None

    def recovered(self, since: float, *, noted: bool = True) -> float:
        """How long recovery took that is over by now."""
        when = self._freshness.since(since)
        assert when is not None
        if noted:
            self.row.recoveries.append(when - since)
        return when - since

    # -- the end

    def conclude(self) -> None:
        """Services fall silent, every request closes, time stops, all is read and judged."""
        self._fall_silent()
        silent_at = time.time()
        self.rest(_CLOSING_SECONDS)
        self.recover(silent_at + _CLOSING_SECONDS, noted=False)
        self._stop_time()
        deadline = time.monotonic() + _VERDICT_SECONDS
        while not self._verdict() and time.monotonic() < deadline:
            self.rest(0.5)

    def _fall_silent(self) -> None:
        self._traffic.finish()

    def _stop_time(self) -> None:
        for member in [each for each in self.members if each.role == "ticker"]:
            self.send(member, signal.SIGKILL)
            member.process.wait()

    def _verdict(self) -> bool:
        """Judge what is there by now; whether nothing is missing."""
        if self._judge is None:
            self._judge = Judge(self.settings)
        return self._judge.judge(self.row)

    def quiet(self) -> None:
        """Services fall silent, until `speak`; ticks go on."""
        self._fall_silent()

    def speak(self) -> None:
        """Services send again, requests of other numbers."""
        self._traffic = Traffic(self.settings, self._rate, seed=2, first=_SECOND_NUMBER)
        self._traffic.start()

    def lines(self, message: str) -> list[dict[str, object]]:
        """Log lines of the processes that say `message`."""
        return self._world.lines(message)

    def tail(self) -> str:
        """The end of the log of all processes."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-3_000:]

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for member in self.members:
            # A stopped process dies of SIGKILL as well.
            member.expected = True
        self._world.__exit__()
        self._freshness.stop()
