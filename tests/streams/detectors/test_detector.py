"""The adapter: counters besides River's detector."""

from __future__ import annotations

from tidegate.streams.detectors import Adwin


def test_observations_are_counted() -> None:
    """Every value fed counts once; a fresh detector has seen nothing."""
    detector = Adwin()
    assert (detector.observations, detector.detections) == (0, 0)
    detector.feed(iter([0.0, 1.0]))
    detector.feed([])
    assert detector.observations == 2
