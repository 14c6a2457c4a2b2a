"""The evidence of one guardrail on one candidate since several beginnings, not only the first.

A candidate that breaks after a long healthy time is diluted by it: whoever counts from the
beginning only needs evidence in proportion to what went well. So evidence also begins anew each
time the candidate has `size` more observations, and with each new routing table; number j of these
beginnings is judged at its own small error rate (`guardrails`), and all together err with alpha.

Beginnings are kept like an exponential histogram (Datar, Gionis, Indyk, Motwani 2002): dense near
the present, ever sparser before; one that is dropped was only a chance to see something. Within one
routing table nothing is confounded by moving weights, so a beginning needs no strata.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tidegate.streams.estimation.bins import Bins
from tidegate.streams.estimation.moments import BatchMoments, Floats, Sample
from tidegate.streams.estimation.strata import Key

Side = Sample | Bins

SAME_SIZE_MAX = 2
LOOKS_PER_SIZE = 8
"""Later beginnings are looked at so often while the candidate gathers `size` observations."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a guardrail counts: values of a measurement on the candidate, and on control or nobody.

    `above` counts values above a bound in the place of the values; `binned` keeps them in bins.
    `size` candidate observations begin anew; 0: only `Trail.cut` does, for checks of guardrail
    `checked`.
    """

    measurement: str
    candidate: str
    control: str
    above: float | None = None
    binned: bool = False
    size: int = 0
    checked: int | None = None


@dataclass(slots=True)
class Stretch:
    """What came between two beginnings; `level` counts how often it was merged."""

    start: int
    level: int
    control: Any
    candidate: Any


@dataclass(frozen=True, slots=True)
class Beginning:
    """Everything since beginning number `start`; `first` when the table's evidence begins there."""

    start: int
    control: Any
    candidate: Any
    is_first: bool


class Trail:
    """The stretches of one watch, oldest first; the last is still being filled."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.key: Key = (0, 0)
        self.tables = 0
        self.starts = 0
        self.is_due = False
        self._seen = 0.0
        self._stretches: list[Stretch] = []

    def reach(self, key: Key) -> bool:
        """Whether facts of a table count: those of the newest; a newer one begins anew."""
        if key > self.key or not self._stretches:
            if key < self.key:
                return False
            self.key, self.tables = key, self.tables + 1
            self._stretches = [self._fresh()]
        return key == self.key

    def merge(self, is_candidate: bool, moments: BatchMoments) -> None:
        """Adds a batch's moments."""
        last = self._stretches[-1]
        (last.candidate if is_candidate else last.control).merge(*moments)
        if is_candidate:
            self._count(moments[0])

    def feed(self, is_candidate: bool, values: Floats) -> None:
        """Adds values one by one: to bins, or as shares above the bound."""
        last = self._stretches[-1]
        side = last.candidate if is_candidate else last.control
        if self.watch.binned:
            side.feed(values)
        else:
            n, bound = float(len(values)), self.watch.above
            share = int((values > bound).sum()) / n if bound is not None else 0.0
            side.merge(n, n, share, n * share * (1.0 - share))
        if is_candidate:
            self._count(float(len(values)))

    def settle(self) -> None:
        """Ends the last stretch when it is full: after a batch, so that both sides have it."""
        if not self.watch.size or not self._stretches:
            return
        if _number(self._stretches[-1].candidate) >= self.watch.size:
            self._stretches.append(self._fresh())
            self._thin_out()

    def cut(self) -> None:
        """Everything so far has been judged: what comes is judged by itself."""
        if self._stretches:
            self._stretches = [self._fresh()]

    def beginnings(self) -> Iterator[Beginning]:
        """The evidence since each beginning, the latest first."""
        control, candidate = self._side(), self._side()
        for place in range(len(self._stretches) - 1, -1, -1):
            stretch = self._stretches[place]
            control.absorb(stretch.control)
            candidate.absorb(stretch.candidate)
            yield Beginning(stretch.start, control, candidate, place == 0)

    def to_state(self) -> list[Any]:
        """JSON values; equal trails give equal ones."""
        stretches = [
            [item.start, item.level, item.control.to_state(), item.candidate.to_state()]
            for item in self._stretches
        ]
        return [list(self.key), self.tables, self.starts, self.is_due, self._seen, stretches]

    def load(self, state: list[Any]) -> None:
        """Makes a fresh trail go on where `to_state` was called."""
        key, self.tables, self.starts, self.is_due, self._seen, stretches = state
        self.key = (key[0], key[1])
        kind: Any = Bins if self.watch.binned else Sample
        self._stretches = [
            Stretch(start, level, kind.from_state(control), kind.from_state(candidate))
            for start, level, control, candidate in stretches
        ]

    def _count(self, number: float) -> None:
        step = max(1, self.watch.size // LOOKS_PER_SIZE)
        self.is_due = self.is_due or (self._seen + number) // step > self._seen // step
        self._seen += number

    def _side(self) -> Any:
        return Bins() if self.watch.binned else Sample()

    def _fresh(self) -> Stretch:
        self.starts += 1
        return Stretch(self.starts - 1, 0, self._side(), self._side())

    def _thin_out(self) -> None:
        """Beyond two stretches of one level the two oldest of it become one of the next."""
        closed, level = self._stretches[:-1], 0
        while True:
            alike = [place for place, item in enumerate(closed) if item.level == level]
            if len(alike) <= SAME_SIZE_MAX:
                break
            older, newer = closed[alike[0]], closed.pop(alike[1])
            older.control.absorb(newer.control)
            older.candidate.absorb(newer.candidate)
            level = older.level = level + 1
        self._stretches[:-1] = closed


def _number(side: Any) -> float:
    found: float = side.n if isinstance(side, Bins) else side.moments().n
    return found
