"""The trails of a ledger: which facts of a batch each of them takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.streams.estimation.columns import Values
from tidegate.streams.estimation.strata import Key
from tidegate.streams.estimation.trail import Trail, Watch

Learnt = tuple[int, str, Key]
"""A context that is learnt from: its number in the batch, variant, routing version."""


class Trails:
    """One trail for each watch of a plan."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        self._trails: Mapping[Watch, Trail] = {watch: Trail(watch) for watch in watches}
        self._by_measurement: dict[str, list[Trail]] = {}
        for watch, trail in self._trails.items():
            self._by_measurement.setdefault(watch.measurement, []).append(trail)

    def __getitem__(self, watch: Watch) -> Trail:
        return self._trails[watch]

    def begin(self) -> None:
        """A batch begins: who has seen nothing new need not be looked at."""
        for trail in self._trails.values():
            trail.is_due = False

    def learn(self, measurement: str, found: Values, learnt: Sequence[Learnt]) -> None:
        """Takes a batch's values of one measurement, older tables first."""
        trails = self._by_measurement.get(measurement)
        if not trails:
            return
        present = [item for item in learnt if found.moments[item[0]] is not None]
        present.sort(key=lambda item: item[2])
        for trail in trails:
            for number, variant, key in present:
                if variant in (trail.watch.candidate, trail.watch.control) and trail.reach(key):
                    _take(trail, variant == trail.watch.candidate, found, number)
            trail.settle()

    def to_state(self) -> list[Any]:
        """JSON values, in the order of the plan."""
        return [trail.to_state() for trail in self._trails.values()]

    def load(self, state: Sequence[Any]) -> None:
        """Takes over what `to_state` gave, under the same watches."""
        for trail, item in zip(self._trails.values(), state, strict=True):
            trail.load(item)

    def keep(self, before: Trails, measurements: frozenset[str]) -> None:
        """Goes on with the trails of an earlier plan that watch the same."""
        for watch, trail in self._trails.items():
            earlier = before._trails.get(watch)
            if earlier is not None and watch.measurement in measurements:
                trail.load(earlier.to_state())


def _take(trail: Trail, is_candidate: bool, found: Values, number: int) -> None:
    if trail.watch.binned or trail.watch.above is not None:
        trail.feed(is_candidate, found.of([number]))
        return
    moments = found.moments[number]
    if moments is not None:
        trail.merge(is_candidate, moments)
