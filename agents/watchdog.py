"""Notices what Faust and the clients do not: a worker that lives and does not work.

Judging is a plain class over observations; watching is a thread, so that a blocked event loop
is noticed too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tidegate.agents.failstop import FailStop, fail_stop

_log = logging.getLogger(__name__)

HEALTH_SECONDS = 10.0
EXIT_SECONDS = 30.0
GROUP_HEALTH_SECONDS = 90.0
GROUP_EXIT_SECONDS = 180.0
"""A rebalance alone may take a minute without a word."""
TICK_AGE_SECONDS = 1.0
_BEFORE_ANY_TICK_SECONDS = 1e9
"""Log time is 0, 1970, until a tick is read; no clock is that far behind."""
MISPLACED_SECONDS = 60.0
BUSY_RECORDS = 1_000
_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One topic-partition: the next offset to feed, the log's end, whether more may be fetched.

    `end` is None when the broker does not tell.
    """

    position: int
    end: int | None
    wanted: bool

    @property
    def lag(self) -> int:
        """Records in the log that were not fed; 0 when the end is not known."""
        return 0 if self.end is None else max(0, self.end - self.position)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the watchdog sees at one moment; times in seconds of one monotonic clock.

    `loop_at` is when the event loop last showed itself; `tick_age` how far log time is behind
    the clock, None when nothing is owned or the worker still catches up; `waiting` tells of
    partitions that cannot go on before somebody helps, which a new process would not; `misplaced`
    counts keys by topic that stood where murmur2 would not have put them, since the process began;
    `group_at` is when the group last spoke to this worker, None when there is no group; `answered`
    whether a broker answered lately, which is all there is to know of them when nothing is owned.
    """

    at: float
    loop_at: float
    progress: Mapping[str, Progress]
    tick_age: float | None = None
    waiting: tuple[str, ...] = ()
    misplaced: Mapping[str, int] = field(default_factory=dict)
    group_at: float | None = None
    answered: bool = True

    @property
    def brokers_answer(self) -> bool:
        """Whether some log's end is known; when nothing is owned, whether anything is answered."""
        if self.progress:
            return any(each.end is not None for each in self.progress.values())
        return self.answered


@dataclass(frozen=True, slots=True)
class Verdict:
    """`faults` make health red; `fatal` is why the process must end, or empty."""

    faults: tuple[str, ...] = ()
    fatal: str = ""


@dataclass(slots=True)
class Judge:
    """Remembers since when each topic-partition has had lag without moving, or no known end."""

    _stuck: dict[str, tuple[int, float]] = field(default_factory=dict)
    _before: Mapping[str, Progress] = field(default_factory=dict)
    _answered_at: float | None = None
    _misplaced: dict[str, tuple[int, float]] = field(default_factory=dict)
    _brokers_silent_at: float = 0.0

    def judge(self, seen: Observed) -> Verdict:
        """Health red after 10 s, the end after 30 s; never while idle or held back on purpose.

        Of the group's silence the same after 90 and 180 s.

        A topic-partition that flow control holds back waits for another log, for example for
        ticks: starting the process again would not help it. Nor would it help one that waits its
        turn while the process works on the backlog of others.
        """
        faults, fatal = list(seen.waiting), ""
        silent = seen.at - seen.loop_at
        if silent >= HEALTH_SECONDS:
            faults.append(f"the event loop has been blocked for {silent:.0f} s")
        if silent >= EXIT_SECONDS:
            fatal = faults[-1]
        busy = self._works_on_backlog(seen.progress)
        self._before = seen.progress
        self._stuck = {name: since for name, since in self._stuck.items() if name in seen.progress}
        for name, progress in seen.progress.items():
            stuck = self._stuck_seconds(name, progress, seen.at, busy)
            if stuck >= HEALTH_SECONDS:
                faults.append(f"{name} has lag {progress.lag} and has not moved for {stuck:.0f} s")
            if stuck >= EXIT_SECONDS and not fatal:
                fatal = faults[-1]
        if seen.brokers_answer or self._answered_at is None:
            self._answered_at = seen.at
        elif seen.at - self._answered_at >= HEALTH_SECONDS:
            unknown = "tells where the logs end" if seen.progress else "answers"
            faults.append(f"no broker {unknown}")
        if (group := self._group_silent_seconds(seen)) >= GROUP_HEALTH_SECONDS:
            faults.append(f"the consumer group has not spoken to this worker for {group:.0f} s")
            fatal = fatal or (faults[-1] if group >= GROUP_EXIT_SECONDS else "")
        if seen.tick_age is not None and seen.tick_age > TICK_AGE_SECONDS:
            faults.append(
                "no tick has been read yet: does a ticker run (`tidegate ticker`)?"
                if seen.tick_age > _BEFORE_ANY_TICK_SECONDS
                else f"log time is {seen.tick_age:.1f} s old: no ticker writes, or its clock is"
                " behind"
            )
        faults += self._misplaced_lately(seen)
        return Verdict(tuple(faults), fatal)

    def _misplaced_lately(self, seen: Observed) -> Iterator[str]:
        """Topics whose producers partition otherwise: what they send is never joined."""
        for topic, count in sorted(seen.misplaced.items()):
            before = self._misplaced.get(topic)
            if before is None or count > before[0]:
                self._misplaced[topic] = (count, seen.at)
            if seen.at - self._misplaced[topic][1] < MISPLACED_SECONDS:
                yield (
                    f"records of {topic} are not in the partitions of their keys and will not be"
                    " joined: a producer does not use partitioner=murmur2_random"
                )

    def _group_silent_seconds(self, seen: Observed) -> float:
        """How long the group has been silent while brokers answered.

        Such a worker goes on with what it was given, and takes over nothing when another one dies.
        One whose first join never ends was given nothing at all.
        """
        if not seen.brokers_answer:
            self._brokers_silent_at = seen.at
        if seen.group_at is None:
            return 0.0
        return seen.at - max(seen.group_at, self._brokers_silent_at)

    def _works_on_backlog(self, progress: Mapping[str, Progress]) -> bool:
        moved = (
            each.lag
            for name, each in progress.items()
            if name in self._before and each.position != self._before[name].position
        )
        return sum(moved) >= BUSY_RECORDS

    def _stuck_seconds(self, name: str, progress: Progress, at: float, busy: bool) -> float:
        before = self._stuck.get(name)
        waiting = progress.lag > 0 and progress.wanted and not busy
        if not waiting or before is None or before[0] != progress.position:
            self._stuck[name] = (progress.position, at)
            return 0.0
        return at - before[1]


class Watchdog:
    """Watches from a thread; ends the process when it must."""

    def __init__(
        self,
        observe: Callable[[], Observed],
        fail: FailStop = fail_stop,
        interval_seconds: float = _INTERVAL_SECONDS,
    ) -> None:
        self._observe = observe
        self._interval_seconds = interval_seconds
        self._fail = fail
        self._judge = Judge()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidegate-watchdog", daemon=True)
        self.verdict = Verdict(("starting",))

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def look(self) -> None:
        """Observe once and judge; health turns red here, and the process may end here."""
        verdict = self._judge.judge(self._observe())
        for fault in verdict.faults:
            if fault not in self.verdict.faults:
                _log.warning("unhealthy: %s", fault)
        self.verdict = verdict
        if verdict.fatal:
            self._fail(verdict.fatal)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_seconds):
            try:
                self.look()
            except Exception:
                # A watchdog that dies of what it sees would leave health green for ever.
                _log.exception("the watchdog could not look")
                self.verdict = Verdict(("the watchdog could not look",))
