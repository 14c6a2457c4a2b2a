"""ADWIN: the adapter alarms exactly where River does."""

from __future__ import annotations

import numpy as np
from river import drift

from tidegate.streams.detectors import Adwin


def test_alarms_are_rivers() -> None:
    """Same stream, same positions."""
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.random(2_000) < p for p in (0.1, 0.4, 0.1)]).astype(float).tolist()
    river, alarms = drift.ADWIN(), []
    for number, value in enumerate(values, start=1):
        river.update(value)
        if river.drift_detected:
            alarms.append(number)
    detector = Adwin()
    detector.feed(values)
    assert (detector.detections, detector.detected_at) == (len(alarms), alarms[-1])


def test_small_changes_need_raw_observations() -> None:
    """0.10 to 0.15 is found in raw observations and missed in means of 100 of them."""
    rng = np.random.default_rng(4)
    raw = np.concatenate([rng.random(4_000) < 0.10, rng.random(8_000) < 0.15]).astype(float)
    by_observation, by_mean = Adwin(), Adwin()
    by_observation.feed(raw.tolist())
    by_mean.feed(raw.reshape(-1, 100).mean(axis=1).tolist())
    assert by_observation.detections >= 1
    assert by_mean.detections == 0
