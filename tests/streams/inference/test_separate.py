"""Shares apart: bounds from exact bounds of each side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.streams.estimation.moments import Moments
from tidegate.streams.inference import separate


def side(n: int, successes: int) -> Moments:
    """Moments of zeros and ones."""
    share = successes / n
    return Moments(float(n), share, share * (1 - share) * n / max(n - 1, 1))


@given(st.integers(1, 3_000), st.integers(1, 3_000), st.data())
def test_bounds_hold_the_estimate(n0: int, n1: int, data: st.DataObject) -> None:
    """Whatever was counted, absolute or relative."""
    control = side(n0, data.draw(st.integers(0, n0)))
    candidate = side(n1, data.draw(st.integers(0, n1)))
    for relative in (False, True):
        found = separate.compare(control, candidate, 0.001, relative)
        assert found is not None
        if found.estimate is None:
            continue
        assert found.lower is None or found.lower <= found.estimate + 1e-9
        assert found.upper is None or found.upper >= found.estimate - 1e-9


def test_rare_errors_are_not_blamed_by_a_normal_tail() -> None:
    """Two failures where 1 in 1,000 fail: a normal approximation is sure, exact bounds are not."""
    found = separate.compare(side(20_000, 20), side(200, 3), 1e-4, relative=False)
    assert found is not None
    assert found.lower is not None
    assert found.lower < 0.0
    assert separate.compare(Moments(0, 0, 0), side(5, 1), 0.05, relative=False) is None


@pytest.mark.parametrize("rate", [0.1, 0.005])
def test_peeking_keeps_the_error_rate(rate: float) -> None:
    """Equal sides, looked at 50 times: at 1 % each way at most 1 in 100 streams is ever blamed."""
    rng, streams = np.random.default_rng(5), 100
    ones = rng.binomial(40, rate, (streams, 50)).cumsum(axis=1)
    zeros = rng.binomial(360, rate, (streams, 50)).cumsum(axis=1)
    blamed = 0
    for row in range(streams):
        seen = np.arange(1, 51)
        worst = np.argmax(ones[row] / (40 * seen) - zeros[row] / (360 * seen))
        looks = {int(worst), 9, 24, 49}
        blamed += any(_is_blamed(zeros[row], ones[row], look) for look in looks)
    assert blamed / streams <= 0.01


def _is_blamed(zeros: np.ndarray, ones: np.ndarray, look: int) -> bool:
    control = side(360 * (look + 1), int(zeros[look]))
    found = separate.compare(control, side(40 * (look + 1), int(ones[look])), 0.01, False)
    assert found is not None
    assert found.lower is not None
    return found.lower > 0.0


def test_a_doubled_error_rate_is_found() -> None:
    """Also at the small error rate of a late beginning."""
    found = separate.compare(side(18_000, 900), side(2_000, 200), 1e-5, relative=True)
    assert found is not None
    assert found.lower is not None
    assert found.lower > 0.2
    assert found.upper is not None
    assert found.upper > 1.0
