"""What every drift detector of the registry must do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tidegate.streams.detectors import DETECTORS

STEADY = (np.random.default_rng(1).random(3_000) < 0.2).astype(float).tolist()
SHIFTED = (np.random.default_rng(2).random(3_000) < 0.6).astype(float).tolist()


@pytest.mark.parametrize("name", DETECTORS)
def test_it_notices_a_shift_and_nothing_before(name: str) -> None:
    """No alarm on a steady stream, one after its rate has tripled, and it says where."""
    detector = DETECTORS[name]()
    detector.feed(STEADY)
    assert (detector.detections, detector.detected_at) == (0, 0)
    detector.feed(SHIFTED)
    assert detector.detections >= 1
    assert 3_000 < detector.detected_at <= detector.observations == 6_000


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("seen", [0, 1, 3_000, 3_300])
def test_state_is_exact(name: str, seen: int) -> None:
    """Read back from JSON, it goes on to the same alarms and the same state."""
    values = STEADY + SHIFTED
    one, other = DETECTORS[name](), DETECTORS[name]()
    one.feed(values[:seen])
    other.from_state(json.loads(json.dumps(one.to_state(), allow_nan=False)))
    assert other.to_state() == one.to_state()
    one.feed(values[seen:])
    other.feed(values[seen:])
    assert other.to_state() == one.to_state()


@pytest.mark.parametrize("name", DETECTORS)
def test_batches_do_not_matter(name: str) -> None:
    """One by one or all at once: the same state."""
    one, other = DETECTORS[name](), DETECTORS[name]()
    one.feed(STEADY)
    for value in STEADY:
        other.feed([value])
    assert other.to_state() == one.to_state()


@pytest.mark.parametrize("name", DETECTORS)
def test_state_taken_at_an_alarm_is_exact(name: str) -> None:
    """The alarm itself is state: River starts anew with the observation after it."""
    values = STEADY + SHIFTED
    whole = DETECTORS[name]()
    whole.feed(values)
    cut = DETECTORS[name]()
    first = 0
    while not cut.detections:
        cut.feed([values[first]])
        first += 1
    other = DETECTORS[name]()
    other.from_state(cut.to_state())
    other.feed(values[first:])
    assert other.to_state() == whole.to_state()
