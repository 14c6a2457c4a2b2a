"""What a drift detector is: an adapter that counts its alarms and knows its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol


class Detector(Protocol):
    """Watches one stream of numbers in 0..1.

    `observations` counts what was fed, `detections` the alarms, `detected_at` is the number of
    observations at the last alarm, 0 for none.
    """

    observations: int
    detections: int
    detected_at: int

    def feed(self, values: Iterable[float]) -> None:
        """Takes observations in order."""

    def to_state(self) -> list[Any]:
        """JSON values; equal detectors give equal ones."""

    def from_state(self, state: list[Any]) -> None:
        """Makes a fresh detector go on where `to_state` was called."""


class RiverDetector(ABC):
    """Base of the adapters of River's detectors, which start anew after each alarm."""

    __slots__ = ("_detector", "detected_at", "detections", "observations")

    def __init__(self, detector: Any) -> None:
        self._detector = detector
        self.observations = 0
        self.detections = 0
        self.detected_at = 0

    def feed(self, values: Iterable[float]) -> None:
        """Takes observations in order."""
        detector, update, number = self._detector, self._detector.update, self.observations
        for value in values:
            update(value)
            number += 1
            if detector.drift_detected:
                self.detections += 1
                self.detected_at = number
        self.observations = number

    def to_state(self) -> list[Any]:
        """Counters, whether the last observation was an alarm, then the detector itself."""
        alarmed = bool(self._detector.drift_detected)
        return [self.observations, self.detections, self.detected_at, alarmed, self._dump()]

    def from_state(self, state: list[Any]) -> None:
        """Makes a fresh detector go on where `to_state` was called."""
        self.observations, self.detections, self.detected_at, alarmed, inner = state
        self._load(inner)
        self._detector._drift_detected = alarmed

    @abstractmethod
    def _dump(self) -> str:
        """State of the detector itself, as text."""

    @abstractmethod
    def _load(self, state: str) -> None:
        """Reads what `_dump` wrote."""
