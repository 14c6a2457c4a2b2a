"""Deadlines that are far off: what is opened is what was put in, span by span."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.streams.joining.scenario import Scenario, requests_of
from tests.streams.joining.traffic import SETTINGS
from tidegate.streams.joining import requests
from tidegate.streams.joining.far import SPAN_MS, Far
from tidegate.streams.joining.settings import TIMER_GRID_MS


def test_a_span_holds_fewer_deadlines_than_an_octet() -> None:
    """Places on the grid are kept in one octet each."""
    assert SPAN_MS % TIMER_GRID_MS == 0
    assert SPAN_MS // TIMER_GRID_MS < 256


@pytest.mark.parametrize("seed", range(5))
def test_rows_come_back_by_deadline_in_the_order_they_were_added(seed: int) -> None:
    """Whether they were added one by one or loaded at once; spans come in order, each once, also
    those in which something was only expected."""
    source = random.Random(seed)
    far, wanted = Far(), dict[int, list[int]]()
    for row in range(2_000):
        deadline_ms = TIMER_GRID_MS * source.randrange(5 * SPAN_MS // TIMER_GRID_MS)
        far.add(deadline_ms, np.array([row], dtype="<u4"))
        wanted.setdefault(deadline_ms, []).append(row)
    far.expect(9 * SPAN_MS)
    deadlines = sorted(wanted)
    again = Far()
    again.load(
        np.array([at for at in deadlines for _ in wanted[at]]),
        np.array([row for at in deadlines for row in wanted[at]]),
    )
    for each in (far, again):
        whole = [(at, rows.tolist()) for at, rows in each.items()]
        assert whole == [(at, wanted[at]) for at in deadlines]
        opened = []
        while (begins_ms := each.next_ms) is not None:
            part = each.open_next()
            assert each.begins_ms == begins_ms + SPAN_MS
            assert all(begins_ms <= at < each.begins_ms for at, _ in part)
            opened += [(at, rows.tolist()) for at, rows in part]
        assert opened == whole


@pytest.mark.parametrize("young_max", [2, 1_000])
def test_requests_close_in_order_from_near_and_far(
    monkeypatch: pytest.MonkeyPatch, young_max: int
) -> None:
    """Windows from a second to an hour, packed or not, reloaded or not: each request closes at its
    deadline, and which are packed shows nowhere."""
    monkeypatch.setattr(requests, "YOUNG_MAX", young_max)
    source, scenarios = random.Random(3), (Scenario(), Scenario())
    waits_ms = {f"r{number}": source.choice((1_000, 60_000, 3_600_000)) for number in range(60)}
    for number, (request, wait_ms) in enumerate(waits_ms.items()):
        for scenario in scenarios:
            scenario.at(700 * number).predict(request, reward_wait_ms=wait_ms)
    for now_ms in (50_000, 80_000, 3_500_000, 3_620_000, 4_000_000):
        left = sum(
            700 * number + wait_ms + SETTINGS.grace_ms > now_ms
            for number, wait_ms in enumerate(waits_ms.values())
        )
        for scenario in scenarios:
            assert scenario.at(now_ms).count("prediction.pending") == left
        scenarios[1].seal().reload()
        assert requests_of(scenarios[0].joiner) == requests_of(scenarios[1].joiner)
    assert scenarios[0].outputs == scenarios[1].outputs
