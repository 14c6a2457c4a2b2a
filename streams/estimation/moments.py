"""Count, mean and variance, merged exactly enough at any offset; batches enter in two passes.

Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances
(1979). River's `Var` merges by it; its `update_many` subtracts large sums and is not used: at an
offset of 1e9 it gives negative variances.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import stats

Floats = NDArray[np.float64]


class Moments(NamedTuple):
    """What inference needs to know of a sample.

    `n` is the effective number of observations: with sample weights w, (sum w)^2 / sum w^2
    (Kish 1965), else their number. `variance` is the unbiased sample variance, 0 below 2.
    """

    n: float
    mean: float
    variance: float


class Sample:
    """Running moments of weighted observations.

    >>> sample = Sample()
    >>> sample.merge(3.0, 3.0, 2.0, 2.0)
    >>> sample.merge(1.0, 1.0, 6.0, 0.0)
    >>> sample.moments()
    Moments(n=4.0, mean=3.0, variance=4.666666666666667)
    """

    __slots__ = ("_batch", "_squares", "_var")

    def __init__(self) -> None:
        self._var: Any = stats.Var()
        self._squares = 0.0
        # Filled anew for every batch: making one takes longer than merging it.
        self._batch: Any = stats.Var()

    def merge(self, weight: float, squares: float, mean: float, deviations: float) -> None:
        """Adds a batch: sum of weights and of their squares, mean, sum of squared deviations."""
        if weight <= 0.0:
            return  # River divides by the merged weight
        batch = self._batch
        batch.mean.n, batch.mean._mean, batch._S = weight, mean, deviations
        self._var += batch
        self._squares += squares

    def absorb(self, other: Sample) -> None:
        """Adds another sample."""
        self.merge(*other.to_state())

    def moments(self) -> Moments:
        """The moments so far; all 0 when nothing came."""
        weight, squares, mean, deviations = self.to_state()
        if weight <= 0.0:
            return Moments(0.0, 0.0, 0.0)
        n = weight * weight / squares
        spread = deviations / weight * n / (n - 1.0) if n > 1.0 else 0.0
        return Moments(n, mean, spread)

    def to_state(self) -> list[float]:
        """Sum of weights, sum of squared weights, mean, sum of squared deviations."""
        mean = self._var.mean
        return [float(mean.n), self._squares, float(mean.get()), float(self._var._S)]

    @classmethod
    def from_state(cls, state: list[float]) -> Sample:
        """The sample that `to_state` told of."""
        sample = cls()
        sample.merge(*state)
        return sample


BatchMoments = tuple[float, float, float, float]
"""Sum of weights and of their squares, mean, sum of squared deviations: what `merge` takes."""


def grouped(
    groups: NDArray[Any], count: int, values: Floats, weights: Floats | None
) -> list[BatchMoments | None]:
    """Moments of each group of a batch in two passes; None for groups without rows.

    Args:
        groups: group of each row, 0..count-1, shape (rows,).
        count: number of groups.
        values: shape (rows,), finite.
        weights: shape (rows,), positive; None: all 1.
    """
    if not len(values):
        return [None] * count
    weight = np.bincount(groups, weights, count).astype(np.float64)
    sums = weight.tolist()
    squares = weight if weights is None else np.bincount(groups, weights * weights, count)
    squared = squares.tolist()
    weighted = values if weights is None else values * weights
    # Where a group has no rows its total is 0, too.
    weight[weight == 0.0] = 1.0
    means = np.bincount(groups, weighted, count) / weight
    deviations = values - means[groups]
    deviations *= deviations
    if weights is not None:
        deviations *= weights
    spreads = np.bincount(groups, deviations, count)
    columns = zip(sums, squared, means.tolist(), spreads.tolist(), strict=True)
    return [found if found[0] > 0.0 else None for found in columns]
