"""Probability that a variant is the best, by quadrature: no draws, the same on every replay.

P(k is best) = integral of f_k(x) prod_{i != k} F_i(x) dx over the posteriors, with 8-point
Gauss-Legendre panels between the union of every posterior's mean + (-8 .. 8) standard deviations
(error about 2e-15 where Gauss-Hermite has 4e-3 with unequal deviations). Posteriors are Normal, or
Beta for proportions with few successes or failures, where Normal is off by up to 0.04.
Scott: A modern Bayesian look at the multi-armed bandit (2010) for P(best) as a share of traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtr, xlog1py, xlogy

from tidegate.schemas.canonical import round_significant
from tidegate.streams.estimation.strata import Arm

Floats = NDArray[np.float64]

_FEW = 100.0
_STEPS: Floats = np.linspace(-8.0, 8.0, 17)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_TOLERANCE = 1e-6
_EDGE = 1e-12


class _Normal:
    def __init__(self, arm: Arm, scale: float) -> None:
        self.mean = arm.mean
        # An arm that never varied still needs a density; nothing finer is told apart anyway.
        self.deviation = max(math.sqrt(arm.mean_variance), 1e-9 * scale)
        self.edges: Floats = self.mean + self.deviation * _STEPS

    def density(self, x: Floats) -> Floats:
        z = (x - self.mean) / self.deviation
        return np.asarray(np.exp(-0.5 * z * z))

    def below(self, x: Floats) -> Floats:
        return np.asarray(ndtr((x - self.mean) / self.deviation))


class _Beta:
    def __init__(self, n: float, mean: float) -> None:
        self.a, self.b = 1.0 + n * mean, 1.0 + n * (1.0 - mean)
        whole = self.a + self.b
        center = self.a / whole
        deviation = math.sqrt(center * (1.0 - center) / (whole + 1.0))
        # A skewed tail reaches beyond eight deviations, but never beyond 0 and 1.
        self.edges: Floats = np.clip([0.0, *(center + deviation * _STEPS), 1.0], 0.0, 1.0)
        mode = (self.a - 1.0) / (whole - 2.0) if whole > 2.0 else 0.5
        # Only a scale, but it must be finite: a mean that rounding keeps from 1 has its mode there.
        self.peak = float(self._log(np.clip([mode], _EDGE, 1.0 - _EDGE))[0])

    def density(self, x: Floats) -> Floats:
        inside = (x > 0.0) & (x < 1.0)
        return np.where(inside, np.exp(self._log(np.clip(x, 0.0, 1.0)) - self.peak), 0.0)

    def below(self, x: Floats) -> Floats:
        return np.asarray(betainc(self.a, self.b, np.clip(x, 0.0, 1.0)))

    def _log(self, x: Floats) -> Floats:
        return np.asarray(xlogy(self.a - 1.0, x) + xlog1py(self.b - 1.0, -x))


def probabilities(
    arms: Sequence[Arm], goal: Literal["increase", "decrease"]
) -> dict[str, float] | None:
    """Variant -> probability of being best, sum 1; None when nothing can be said.

    Nothing can be said of an arm without observations, or when the quadrature does not add up.
    """
    raw = integrals(arms, goal)
    if raw is None:
        return None
    total = math.fsum(raw)
    if not abs(total - 1.0) < _TOLERANCE:
        return None
    return {arm.name: round_significant(p / total) for arm, p in zip(arms, raw, strict=True)}


def integrals(arms: Sequence[Arm], goal: Literal["increase", "decrease"]) -> list[float] | None:
    """The integrals before they are scaled to sum 1; None when an arm has no observations."""
    if not arms or any(arm.n <= 0.0 for arm in arms):
        return None
    posteriors = _posteriors(arms)
    edges = np.unique(np.concatenate([posterior.edges for posterior in posteriors]))
    half = 0.5 * np.diff(edges)
    x = (half[:, None] * _NODES + (edges[:-1] + half)[:, None]).ravel()
    weights = (half[:, None] * _WEIGHTS).ravel()
    below = [posterior.below(x) for posterior in posteriors]
    worse = below if goal == "increase" else [1.0 - share for share in below]
    found = []
    for k, posterior in enumerate(posteriors):
        density = posterior.density(x) * weights
        others = np.prod([share for i, share in enumerate(worse) if i != k], axis=0)
        found.append(float(np.sum(density * others) / np.sum(density)))
    return found


def _posteriors(arms: Sequence[Arm]) -> list[_Normal | _Beta]:
    means = [arm.mean for arm in arms]
    deviations = [math.sqrt(arm.mean_variance) for arm in arms]
    scale = max(max(means) - min(means), *deviations, *map(abs, means), 1e-100)
    found: list[_Normal | _Beta] = []
    for arm in arms:
        few = arm.n * min(arm.mean, 1.0 - arm.mean) < _FEW
        found.append(_beta(arm) if arm.binary and few else _Normal(arm, scale))
    return found


def _beta(arm: Arm) -> _Beta:
    """Successes and failures that would give the arm's mean its variance: strata cost some."""
    smoothed = (arm.n * arm.mean + 0.5) / (arm.n + 1.0)
    n = arm.n
    if arm.mean_variance > 0.0:
        n = min(n, smoothed * (1.0 - smoothed) / arm.mean_variance)
    return _Beta(n, arm.mean)
