"""The simulated world: its parts, and how it heals. What happens to it is in `steps`, `faults`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation import people
from tests.simulation.logs import Cluster, Entry, Place
from tests.simulation.schedule import Config
from tests.simulation.serving import READ, Service
from tests.simulation.ticking import TickProducer
from tests.simulation.traffic import Traffic, hand_made
from tests.simulation.workers import Crash, Role, Snapshots, Worker, boot, handler_of
from tidegate.agents.settings import Settings
from tidegate.agents.ticker import LogClock, Ticker
from tidegate.streams.deciding.decider import Decider
from tidegate.streams.deciding.experiment import ExperimentState
from tidegate.streams.output import Emit

START_MS = 1_700_000_000_000
JOINED = ("predictions", "shadow-predictions", "outcomes")
DECIDED = ("control", "applied", "observations")
DECIDER = Role("decider", 0)
HEAL_ROUNDS = 24
HEAL_MS = 700
QUIET_ROUNDS = 3


@dataclass(slots=True)
class HandMade:
    """Joiners of a schedule without joiners: batches made by hand, by source partition."""

    batches: dict[int, list[bytes]] = field(default_factory=dict)
    lost: set[tuple[int, int]] = field(default_factory=set)


class World:
    """All parts of a schedule and what is between them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.now_ms = START_MS
        self.skew_ms = 0
        self.seen: Counter[str] = Counter()
        self.cluster = Cluster()
        self.traffic = Traffic()
        self.hand_made = HandMade()
        self.missed: set[Place] = set()
        self.back_at: dict[Place, int] = {}
        self.step_number = 0
        self.orders = 0
        self.held = False
        self.incarnations = 0
        self.draws: list[tuple[float, float]] = []
        names = {"join": ("joiner",), "decide": ("decider",), "loop": ("joiner", "decider")}
        self.roles = [
            Role(name, partition)
            for name in names[config.kind]
            for partition in range(config.partitions if name == "joiner" else 1)
        ]
        self.places: list[Place] = [
            (topic, role.partition)
            for role in self.roles
            for topic in (JOINED if role.name == "joiner" else DECIDED)
        ]
        self.tickers = [self.new_ticker(0)]
        self.snapshots = {role: Snapshots() for role in self.roles}
        self.workers: dict[Role, Worker | None] = dict.fromkeys(self.roles)
        self.zombies: list[Worker] = []
        self.all_workers: list[Worker] = []
        self.busy: list[Worker] = []
        names_of_services = () if config.kind == "join" else ("a", "b")
        self.services = [
            Service(name, self.cluster, config.partitions, self.now) for name in names_of_services
        ]

    def now(self) -> int:
        """The true time, ms."""
        return self.now_ms

    def new_ticker(self, skew_ms: int) -> Ticker:
        """The real ticker on a host whose clock is `skew_ms` off."""
        settings = Settings(
            prefix="", partitions=self.config.partitions, decision_partitions=1,
            state_dir=Path("unused"),
        )  # fmt: skip
        clock = LogClock(
            lambda: None, lambda: self.now_ms + self.skew_ms + skew_ms, lambda: self.now_ms
        )
        ticker = Ticker(settings, TickProducer(self), clock)
        ticker._places = [place for place in ticker._places if place in self.places]
        return ticker

    def tick(self) -> None:
        """What tickers do each time."""
        for ticker in self.tickers:
            if ticker.clock.disturbed:
                ticker._compare_again()
            ticker.tick()
        self.missed.clear()

    # -- workers

    def make(self, role: Role, emit: Emit) -> Any:
        """The real fold of a role."""
        return handler_of(role, emit, self.config.joining, self.config.partitions)

    def boot(self, role: Role) -> Worker:
        """A new process for a role; whoever was there before is forgotten here, not dead."""
        self.incarnations += 1
        worker = boot(
            role, self.cluster, self.snapshots[role], self.incarnations, self.now, self.make,
            self.config.checkpoint_records,
        )  # fmt: skip
        self.workers[role] = worker
        self.all_workers.append(worker)
        self.busy.append(worker)
        self.seen["started from a checkpoint" if worker.restored >= 0 else "started anew"] += 1
        self.seen["started from segments"] += worker.has_segments
        self.seen["older checkpoint used"] += worker.passed_over
        return worker

    def alive(self, role: Role) -> Worker:
        """The worker of a role; a supervisor starts one when there is none."""
        return self.workers[role] or self.boot(role)

    def crew(self) -> list[Worker]:
        """Everyone who runs, zombies last."""
        return [worker for worker in self.workers.values() if worker] + self.zombies

    def work(self, worker: Worker, start: int, limit: int, back: int = 0) -> bool:
        """A worker fetches of each topic, beginning with rank `start`."""
        found = False
        self.busy.append(worker)
        try:
            for rank in (start, (start + 1) % 3, (start + 2) % 3):
                found |= worker.work(rank, limit, back)
        except Crash as crash:
            self.die(worker, str(crash))
        return found

    def hand_over(self, worker: Worker, limit: int) -> None:
        """Brokers take some of a worker's outputs."""
        try:
            worker.acknowledge(limit)
        except Crash as crash:
            self.die(worker, str(crash))

    def die(self, worker: Worker, point: str) -> None:
        """A process is gone, and with it what no broker had taken."""
        self.seen[f"crash: {point}"] += 1
        worker.queue.clear()
        self.busy = [other for other in self.busy if other is not worker]
        if self.workers[worker.role] is worker:
            self.workers[worker.role] = None
        else:
            self.zombies.remove(worker)

    def sums(self) -> tuple[float, float]:
        """What draws deviated from their propensities, and the variance of that."""
        return sum(off for off, _ in self.draws), sum(variance for _, variance in self.draws)

    def experiment(self) -> ExperimentState | None:
        """The experiment as the running decider sees it."""
        worker = self.workers.get(DECIDER)
        if worker is None:
            return None
        handler = worker.fold.handler
        assert isinstance(handler, Decider)
        return handler.experiments.get(people.EXPERIMENT)

    # -- facts by hand

    def make_batch(self, source: int, b: int) -> None:
        """The next batch of a hand-made joiner; it may get lost on its way."""
        state = self.experiment()
        key, generation = (0, 1), 99  # of no experiment
        if state is not None:
            key = (state.epoch, max(1, state.version - b % 3))
            generation = max(1, state.generation - (b // 3 % 8 == 0))
        made = self.hand_made.batches.setdefault(source, [])
        value = hand_made(source, len(made), self.now_ms, generation, key, b // 24)
        made.append(value)
        if ("observations", 0) in self.cluster.away or (self.held and b % 5 == 0):
            self.hand_made.lost.add((source, len(made) - 1))
        else:
            self._write_batch(source, len(made) - 1)

    def repeat_batches(self, source: int, first: int) -> None:
        """A hand-made joiner that began anew writes all again from some batch on."""
        if ("observations", 0) in self.cluster.away:
            return
        for sequence in range(first, len(self.hand_made.batches.get(source, ()))):
            self._write_batch(source, sequence)

    def _write_batch(self, source: int, sequence: int) -> None:
        value = self.hand_made.batches[source][sequence]
        self.cluster.append(("observations", 0), Entry(value, None, b"", self.now_ms))
        self.hand_made.lost.discard((source, sequence))

    # -- the second phase

    def heal(self) -> int:
        """Faults end; runs on until nothing is left to do. Returns how many rounds that took."""
        self.cluster.away.clear()
        self.missed.clear()
        self.skew_ms = 0
        del self.tickers[1:]
        # A clock that was ahead has made time that must pass.
        ahead_ms = max(self.cluster.logs[place].times()[-1:] or [0] for place in self.places)[0]
        self.now_ms = max(self.now_ms, ahead_ms)
        for zombie in list(self.zombies):
            self.die(zombie, "end of a zombie")
        while self.cluster.flying:
            self.cluster.release(0, twice=False)
        for source, _ in sorted(self.hand_made.lost):
            lost = [sequence for owner, sequence in self.hand_made.lost if owner == source]
            if lost:
                self.repeat_batches(source, min(lost))
        for service in self.services:
            service.linked, service.holds = True, False
        for worker in self.crew():
            worker.armed = None
        quiet = 0
        for number in range(HEAL_ROUNDS):
            self.now_ms += HEAL_MS
            self.tick()
            busy = self._settle() or self._unfinished()
            quiet = 0 if busy else quiet + 1
            if quiet == QUIET_ROUNDS:
                return number
        return HEAL_ROUNDS

    def _settle(self) -> bool:
        """Everyone works until nobody has anything to do; whether there was more than time."""
        before = sum(self._length(place) for place in self.cluster.logs)
        for service in self.services:
            service.beat()
        going = True
        while going:
            going = False
            for role in self.roles:
                worker = self.alive(role)
                going |= self.work(worker, 0, 1_000)
                self.hand_over(worker, 1_000_000)
            for service in self.services:
                for topic in READ:
                    going |= service.poll(topic, 1_000)
        return sum(self._length(place) for place in self.cluster.logs) > before

    def _length(self, place: Place) -> int:
        """Records that change something: heartbeats, words of life and empty batches do not."""
        if place[0] in ("commands", "applied", "observations"):
            return 0
        return self.cluster.logs[place].values

    def _unfinished(self) -> bool:
        """Whether a joiner still has something to wait for."""
        for role in self.roles:
            if role.name == "joiner":
                counters = self.alive(role).fold.handler.counters()
                if any(counters[f"{kind}.pending"] for kind in ("prediction", "shadow", "outcome")):
                    return True
        return False

