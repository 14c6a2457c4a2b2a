"""Page-Hinkley: the adapter alarms exactly where River does."""

from __future__ import annotations

import numpy as np
from river import drift

from tidegate.streams.detectors import PageHinkley


def test_alarms_are_rivers_and_go_by_the_threshold() -> None:
    """Same stream, same positions; a higher threshold alarms later."""
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.random(1_000) < p for p in (0.1, 0.9)]).astype(float).tolist()
    river, alarms = drift.PageHinkley(threshold=20.0), []
    for number, value in enumerate(values, start=1):
        river.update(value)
        if river.drift_detected:
            alarms.append(number)
    low, high = PageHinkley(threshold=20.0), PageHinkley(threshold=200.0)
    low.feed(values)
    high.feed(values)
    assert (low.detections, low.detected_at) == (len(alarms), alarms[-1])
    assert low.detected_at < high.detected_at
