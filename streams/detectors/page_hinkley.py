"""Page-Hinkley: a cumulative sum of deviations from the running mean leaves its extreme.

Page: Continuous inspection schemes, Biometrika 41 (1954).
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode

from river import drift, stats

from tidegate.streams.detectors.detector import RiverDetector

# Packed, not JSON numbers: the extremes begin infinite.
_STATE = struct.Struct("<6d")


class PageHinkley(RiverDetector):
    """River's two-sided Page-Hinkley test; `threshold` is in units of the signal, here 0..1.

    >>> detector = PageHinkley()
    >>> detector.feed([0.0] * 500 + [1.0] * 200)
    >>> detector.detections >= 1
    True
    """

    __slots__ = ()

    def __init__(self, threshold: float = 50.0) -> None:
        super().__init__(drift.PageHinkley(threshold=threshold))

    def _dump(self) -> str:
        test = self._detector
        return b64encode(_STATE.pack(
            test._x_mean.n, test._x_mean.get(), test._sum_increase, test._sum_decrease,
            test._min_increase, test._max_decrease,
        )).decode()

    def _load(self, state: str) -> None:
        test = self._detector
        number, mean, *sums = _STATE.unpack(b64decode(state))
        test._x_mean = stats.Mean._from_state(number, mean)
        test._sum_increase, test._sum_decrease, test._min_increase, test._max_decrease = sums
