"""Moments by (epoch, routing version): pooled means lie when weights move, strata do not.

While the base rate changes, a variant that got most of its traffic late looks better or worse
than it is (Simpson). Within one routing version all variants see the same moments of time, so
differences are taken there and combined.

The number of strata is bounded: beyond it, the two neighbours merge whose traffic shares are most
alike. With equal shares nothing is lost by pooling; that is stratification by propensity.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.streams.estimation.moments import Moments, Sample

Key = tuple[int, int]
"""(epoch, routing version)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Control and candidate within one stratum; both have observations."""

    control: Moments
    candidate: Moments


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant's mean over the strata that all compared variants share.

    `n` is the effective number of observations, `mean_variance` the variance of `mean`. `binary`
    says that values are 0 or 1.
    """

    name: str
    n: float
    mean: float
    mean_variance: float
    binary: bool = False


@dataclass(slots=True)
class Stratum:
    """Routing versions `first` to `last` and what was seen under them.

    `exposures` counts learnt requests by variant; `samples` is by (measurement, variant).
    """

    first: Key
    last: Key
    exposures: dict[str, int] = field(default_factory=dict)
    samples: dict[tuple[str, str], Sample] = field(default_factory=dict)

    def sample(self, measurement: str, variant: str) -> Sample:
        """The sample, made when it is asked for the first time."""
        key = (measurement, variant)
        sample = self.samples.get(key)
        if sample is None:
            sample = self.samples[key] = Sample()
        return sample

    def moments(self, measurement: str, variant: str) -> Moments | None:
        """Moments of the sample, None without observations."""
        sample = self.samples.get((measurement, variant))
        moments = None if sample is None else sample.moments()
        return moments if moments is not None and moments.n > 0.0 else None

    def absorb(self, later: Stratum) -> None:
        """Takes over the stratum that follows."""
        self.last = later.last
        for variant, count in sorted(later.exposures.items()):
            self.exposures[variant] = self.exposures.get(variant, 0) + count
        for (measurement, variant), sample in sorted(later.samples.items()):
            self.sample(measurement, variant).absorb(sample)


_NO_STRATUM = Stratum((0, 0), (-1, 0))
"""Begins after its end: it has no routing version."""


class Strata:
    """All strata of a generation, ascending and disjoint."""

    __slots__ = ("_latest", "_limit", "_strata")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._strata: list[Stratum] = []
        self._latest = _NO_STRATUM  # the one asked for last: most often it is asked for again

    def __len__(self) -> int:
        return len(self._strata)

    def at(self, key: Key) -> Stratum:
        """The stratum of a routing version, made when it is asked for the first time."""
        if self._latest.first <= key <= self._latest.last:
            return self._latest
        self._latest = self._found(key)
        return self._latest

    def _found(self, key: Key) -> Stratum:
        place = bisect_right(self._strata, key, key=lambda stratum: stratum.first)
        if place and self._strata[place - 1].last >= key:
            return self._strata[place - 1]
        stratum = Stratum(key, key)
        self._strata.insert(place, stratum)
        return stratum

    def settle(self) -> None:
        """Merges neighbours until the bound holds; called when nobody holds a stratum."""
        while len(self._strata) > self._limit:
            self._latest = _NO_STRATUM
            # The newest still fills, so its shares say little yet.
            pairs = range(max(1, len(self._strata) - 2))
            costs = [_cost(self._strata[i], self._strata[i + 1]) for i in pairs]
            place = costs.index(min(costs))
            self._strata[place].absorb(self._strata.pop(place + 1))

    def keep(self, measurements: Collection[str]) -> None:
        """Forgets the samples of all other measurements."""
        for stratum in self._strata:
            stratum.samples = {
                key: sample for key, sample in stratum.samples.items() if key[0] in measurements
            }

    def since(self, key: Key) -> Sequence[Stratum]:
        """Strata that began at `key` or later, ascending."""
        return [stratum for stratum in self._strata if stratum.first >= key]

    def to_state(self) -> list[Any]:
        """JSON values; equal strata give equal ones."""
        return [
            [
                list(stratum.first), list(stratum.last), dict(sorted(stratum.exposures.items())),
                [[*key, sample.to_state()] for key, sample in sorted(stratum.samples.items())],
            ]
            for stratum in self._strata
        ]

    def from_state(self, state: list[Any]) -> None:
        """Reads what `to_state` gave."""
        self._latest = _NO_STRATUM
        self._strata = [
            Stratum(
                (first[0], first[1]), (last[0], last[1]), dict(exposures),
                {(name, variant): Sample.from_state(item) for name, variant, item in samples},
            )
            for first, last, exposures, samples in state
        ]


def pairs_of(
    strata: Sequence[Stratum], measurement: str, control: str, candidate: str
) -> tuple[Pair, ...]:
    """Control against candidate, by stratum; strata that lack one of them say nothing."""
    found = (
        (stratum.moments(measurement, control), stratum.moments(measurement, candidate))
        for stratum in strata
    )
    return tuple(Pair(left, right) for left, right in found if left and right)


def arms_of(
    strata: Sequence[Stratum], measurement: str, variants: Sequence[str], binary: bool
) -> tuple[Arm, ...]:
    """Every variant's mean, each stratum weighing what it has of all traffic.

    Only strata with observations of all variants count: a missing one would bias its mean. The
    rule is GrowthBook's for moving weights: mean = sum w_p mean_p, variance = sum w_p^2 s_p^2/n_p.
    """
    shared: list[list[Moments]] = []
    for stratum in strata:
        found = [stratum.moments(measurement, variant) for variant in variants]
        present = [moments for moments in found if moments is not None]
        if len(present) == len(variants):
            shared.append(present)
    if not shared:
        return tuple(Arm(variant, 0.0, 0.0, 0.0, binary) for variant in variants)
    totals = [sum(moments.n for moments in row) for row in shared]
    whole = sum(totals)
    return tuple(
        _arm(variant, [row[i] for row in shared], [total / whole for total in totals], binary)
        for i, variant in enumerate(variants)
    )


def _arm(name: str, rows: Sequence[Moments], shares: Sequence[float], binary: bool) -> Arm:
    mean = sum(share * row.mean for share, row in zip(shares, rows, strict=True))
    variance = mean_variance(rows, shares, binary, within_variance(rows))
    return Arm(name, sum(row.n for row in rows), mean, variance, binary)


def within_variance(rows: Sequence[Moments]) -> float:
    """Variance within strata, pooled over them; 0 when nothing varies."""
    freedom = sum(max(row.n - 1.0, 0.0) for row in rows)
    squares = sum(max(row.n - 1.0, 0.0) * row.variance for row in rows)
    return squares / freedom if freedom > 0.0 else 0.0


def mean_variance(
    rows: Sequence[Moments], shares: Sequence[float], binary: bool, pooled: float
) -> float:
    """Variance of the mean sum(share * mean) over strata.

    Each stratum's own variance is drawn to the pooled one by one observation's worth: a stratum
    of one or two observations has no usable variance of its own. Proportions get half a success
    and half a failure added over all strata: without them, no failure in a few hundred requests
    would mean certainty.
    """
    floor = _half_added(rows) if binary else 0.0
    total = 0.0
    for row, share in zip(rows, shares, strict=True):
        freedom = max(row.n - 1.0, 0.0)
        variance = (freedom * row.variance + pooled) / (freedom + 1.0) + floor
        total += share * share * variance / row.n
    return total


def _half_added(rows: Sequence[Moments]) -> float:
    """What the added halves add to the variance of a single observation."""
    n = sum(row.n for row in rows)
    successes = sum(row.n * row.mean for row in rows)
    rate, smoothed = successes / n, (successes + 0.5) / (n + 1.0)
    return max(0.0, smoothed * (1.0 - smoothed) - rate * (1.0 - rate))


def _cost(left: Stratum, right: Stratum) -> float:
    """How far pooling two strata may mislead: distance of their shares, by the smaller's size."""
    return _distance(left.exposures, right.exposures) * min(
        sum(left.exposures.values()), sum(right.exposures.values())
    )


def _distance(left: Mapping[str, int], right: Mapping[str, int]) -> float:
    """Total variation between two splits of traffic, 0 to 1."""
    whole_left, whole_right = sum(left.values()) or 1, sum(right.values()) or 1
    names = sorted({*left, *right})
    return 0.5 * sum(
        abs(left.get(name, 0) / whole_left - right.get(name, 0) / whole_right) for name in names
    )
