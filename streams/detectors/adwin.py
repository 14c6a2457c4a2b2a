"""ADWIN: a window that drops its old part when the two parts' means differ.

Bifet and Gavaldà: Learning from time-changing data with adaptive windowing, SDM 2007.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable

from river import drift

from tidegate.streams.detectors.detector import RiverDetector


class Adwin(RiverDetector):
    """River's ADWIN.

    >>> detector = Adwin()
    >>> detector.feed([0.0] * 500 + [1.0] * 100)
    >>> detector.detections >= 1
    True
    """

    __slots__ = ()

    def __init__(self, delta: float = 0.002) -> None:
        super().__init__(drift.ADWIN(delta=delta))

    def feed(self, values: Iterable[float]) -> None:
        """Takes observations in order; River's `update` without its layers, three times faster."""
        detector, number = self._detector, self.observations
        update, alarmed = detector._helper.update, detector.drift_detected
        for value in values:
            if alarmed:
                detector._reset()
                update = detector._helper.update
            alarmed = update(value)
            number += 1
            if alarmed:
                self.detections += 1
                self.detected_at = number
        detector._drift_detected = alarmed
        self.observations = number

    def _dump(self) -> str:
        # The window lives in Rust, which gives bytes that are a function of it.
        return b64encode(self._detector._helper.__getstate__()).decode()

    def _load(self, state: str) -> None:
        self._detector._helper.__setstate__(b64decode(state))
