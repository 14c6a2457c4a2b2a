"""A running quantile in constant memory.

Jain and Chlamtac: The P-square algorithm for dynamic calculation of quantiles and histograms
without storing observations, CACM 28 (1985).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any

from river import stats


class RunningQuantile:
    """River's P-square.

    >>> median = RunningQuantile(0.5)
    >>> median.feed([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> median.value()
    3.0
    """

    __slots__ = ("_quantile",)

    def __init__(self, share: float) -> None:
        self._quantile: Any = stats.Quantile(share)

    def feed(self, values: Iterable[float]) -> None:
        """Takes observations in order."""
        update = self._quantile.update
        for value in values:
            update(value)

    def value(self) -> float | None:
        """The estimate, None without observations."""
        found = self._quantile.get()
        return None if found is None else float(found)

    def to_state(self) -> str:
        """State as text; equal quantiles give equal ones."""
        if self._quantile.get() is None:
            return ""
        # The markers live in River's Rust part, which gives bytes that are a function of them.
        return b64encode(self._quantile._quantile.__getstate__()).decode()

    def load(self, state: str) -> None:
        """Makes a fresh quantile go on where `to_state` was called."""
        if state:
            self._quantile._quantile.__setstate__(b64decode(state))
            self._quantile._is_updated = True
