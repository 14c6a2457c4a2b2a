"""How one run over a recorded log goes: its workers, and what is done to them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.agents.counting import ROOT, environment_of
from tests.integration.outcome import Outcome
from tidegate.agents.failstop import EXIT_FAIL_STOP, EXIT_UNREACHABLE
from tidegate.agents.kafka import new_consumer, watermarks
from tidegate.agents.settings import Settings
from tidegate.infra.brokers import Broker
from tidegate.schemas.errors import Unreachable

PATIENCE_SECONDS = 600.0
_DAY_SECONDS = 86_400
_AWAY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Join:
    """How one run goes: fetch size, and what is done to its workers meanwhile."""

    name: str
    size: int = 1_000
    fetcher: str = "librdkafka"
    kills: int = 0
    second_worker: bool = False
    broker_dies: bool = False
    clock_moved_days: int = 0
    hash_seed: str = "0"


SHORT = (
    Join("calm"),
    Join("one by one", size=1, hash_seed="1"),
    Join("seven by seven, killed twice", size=7, kills=2),
    Join("killed three times", kills=3, hash_seed="4711"),
    Join("a second worker joins and dies", second_worker=True),
    Join("the broker is killed and restarted", broker_dies=True),
    Join("a day ahead", clock_moved_days=1),
)
LONG = (
    *SHORT,
    Join("calm, aiokafka", fetcher="aiokafka"),
    Join("one by one, aiokafka", size=1, fetcher="aiokafka"),
    Join("seven by seven", size=7, hash_seed="12"),
    Join("seven by seven, aiokafka", size=7, fetcher="aiokafka", hash_seed="13"),
    Join("killed twice, aiokafka", fetcher="aiokafka", kills=2),
    Join("one by one, killed", size=1, kills=1),
    Join("killed twice, two days back", kills=2, clock_moved_days=-2),
    Join("a second worker, aiokafka", fetcher="aiokafka", second_worker=True, hash_seed="14"),
    Join("a second worker, killed as well", second_worker=True, kills=1),
    Join("the broker dies, aiokafka", fetcher="aiokafka", broker_dies=True),
    Join("the broker dies, and the worker", broker_dies=True, kills=1, hash_seed="15"),
    Join("a day behind, aiokafka", fetcher="aiokafka", clock_moved_days=-1),
    Join("another hash seed", hash_seed="random"),
)


def moved_clock(folder: Path) -> Path:
    """The library that moves the wall clock of a process that preloads it; compiled here."""
    library = folder / "moved_clock.so"
    if not library.exists():
        source = Path(__file__).with_name("moved_clock.c")
        command = ["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library)]
        subprocess.run([*command, str(source), "-ldl"], check=True)
    return library


class Workers:
    """Worker processes of one run; killed at its end. Each takes `pace` records a second."""

    def __init__(
        self, settings: Settings, join: Join, log: Path, pace: int, role: str = "joiner"
    ) -> None:
        self._role = role
        self._settings = settings
        self.join = join
        self._pace = pace
        self._stack = ExitStack()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = log
        self.started_again = 0

    def start(self) -> None:
        """Another worker."""
        join = self.join
        extra = {
            "PYTHONHASHSEED": join.hash_seed,
            "TIDEGATE_INPUT_PREFIX": self._settings.input_prefix,
        }
        if join.clock_moved_days:
            extra["MOVED_CLOCK_SECONDS"] = str(join.clock_moved_days * _DAY_SECONDS)
            extra["LD_PRELOAD"] = str(moved_clock(self.log.parent))
        stream = self._stack.enter_context(self.log.open("ab"))
        command = [
            sys.executable, "-m", "tests.integration.sized_worker", self._role, str(join.size),
            str(self._pace),
        ]  # fmt: skip
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment_of(self._settings, extra), stderr=stream
        )
        self._processes.append(process)

    def tend(self) -> None:
        """Do what a supervisor does: start again who gave up for want of a broker, or stalled."""
        for process in list(self._processes):
            code = process.poll()
            if code in (EXIT_UNREACHABLE, EXIT_FAIL_STOP):
                self._processes.remove(process)
                self.started_again += 1
                self.start()
            else:
                assert code is None, f"a worker ended with {code}: {tail(self.log)}"

    def start_and_wait(self) -> None:
        """Another worker, that has taken over a partition."""
        before = len(takeovers(self.log))
        self.start()
        self.await_until(lambda: len(takeovers(self.log)) > before, "a partition to move")

    def await_until(self, condition: Callable[[], bool], what: str) -> None:
        """Tend to the workers until the condition holds; fail when it does not in time."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}: {tail(self.log)}"
            self.tend()
            time.sleep(0.1)

    def kill_first(self) -> None:
        """SIGKILL to the worker that has run longest."""
        self._kill(0)

    def kill_last(self) -> None:
        """SIGKILL to the worker that came last."""
        self._kill(-1)

    def _kill(self, place: int) -> None:
        self.tend()
        process = self._processes.pop(place)
        assert process.poll() is None, f"a worker ended by itself: {tail(self.log)}"
        process.kill()
        process.wait()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._stack.close()


def disturb(
    workers: Workers, outcome: Outcome, broker: Broker, draw: random.Random,
    written_share: Callable[[float], None],
) -> None:  # fmt: skip
    """Do to workers and broker what the join says, at random moments of its progress.

    `written_share` returns once that share of the output is written.
    """
    join = workers.join
    acts: list[Callable[[], None]] = []

    def kill() -> None:
        workers.kill_first()
        outcome.kills += 1
        workers.start()

    def restart_broker() -> None:
        broker.kill()
        time.sleep(_AWAY_SECONDS)
        broker.restart()

    acts += [kill] * join.kills
    if join.second_worker:
        acts += [workers.start_and_wait, workers.kill_last]
    if join.broker_dies:
        acts.append(restart_broker)
    shares = sorted(draw.uniform(0.1, 0.8) for _ in acts)
    for share, act in zip(shares, acts, strict=True):
        written_share(share)
        act()


def written(settings: Settings, *names: str) -> int:
    """How many records these topics hold by now; 0 while nobody tells."""
    consumer = new_consumer(settings)
    try:
        ends = [watermarks(settings, consumer, name) for name in names]
    except Unreachable:
        return 0
    finally:
        consumer.close()
    return sum(high - low for of_one in ends for low, high in of_one.values())


def takeovers(log: Path) -> list[int]:
    """For each partition a worker took over, how many records its checkpoint stood for."""
    return [
        int(json.loads(line)["released"])
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("{") and "partition taken over" in line and line.endswith("}")
    ]


def tail(log: Path) -> str:
    """The end of a log."""
    return log.read_text(encoding="utf-8", errors="replace")[-3_000:]
