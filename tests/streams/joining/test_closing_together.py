"""Requests that close column by column are told of as those that close one by one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.streams.joining.traffic import BEGIN_MS, SETTINGS, join, outcome, prediction, shadow
from tests.streams.logs import Log, tick_all
from tidegate.streams.joining import closing
from tidegate.streams.joining.closing_together import Closing

ONE_BY_ONE = 10**9


def crowd(seed: int, rich: bool) -> list[Log]:
    """Some hundred requests that close at one tick, with nothing to a dozen entries each.

    `rich`: a few have features, or are deferred.
    """
    source = random.Random(seed)
    logs: list[Log] = [[], [], []]
    tick_all(logs, BEGIN_MS)
    for number in range(400):
        request_id, at_ms = f"r{number}", BEGIN_MS + source.randrange(20)
        unusual = rich and number % 50 == 7
        logs[0].append(prediction(
            request_id, at_ms, experiment=source.choice(("ranker", "pricer", "sorter")),
            variant=source.choice("ab"), status=source.choice(("OK", "ERROR")),
            attributes=source.choice((None, {"region": "eu"})),
            features={"x": 1.0} if unusual else None,
            deferred=True if unusual and number % 100 == 7 else None,
            score=source.choice((None, 0.25, 0.5)),
        ))  # fmt: skip
        for variant in source.choice(("", "c", "d", "cd")):
            score = source.choice((None, 0.75, 0.0))
            logs[1].append(shadow(request_id, at_ms, variant=variant, score=score))
        for each in range(source.choice((0, 0, 1, 1, 1, 2, 5))):
            value, metric = source.choice((0.0, 1.5, -2.0)), source.choice(("click", "revenue"))
            logs[2].append(outcome(
                request_id, at_ms + source.randrange(-50, 60), value, f"o{each}", metric
            ))  # fmt: skip
        if source.random() < 0.1:
            logs[2].append(outcome(request_id, at_ms, 0.0, "a", "", kind="ACTIVATION"))
    for later in range(1, 12):
        tick_all(logs, BEGIN_MS + 100 * later)
    return logs


@pytest.mark.parametrize("facts_per_batch", [7, 200, 5_000])
@pytest.mark.parametrize("rich", [False, True])
def test_together_or_one_by_one_is_the_same(
    monkeypatch: pytest.MonkeyPatch, facts_per_batch: int, rich: bool
) -> None:
    """However many close in one step, and wherever batches are cut meanwhile: the same records
    and the same state come of it, byte for byte."""
    settings = replace(SETTINGS, facts_per_batch=facts_per_batch)
    found = set()
    for least in (2, 8, 32, ONE_BY_ONE):
        monkeypatch.setattr(closing, "_TOGETHER_MIN", least)
        joined = join(crowd(3, rich), settings)
        assert joined.joiner.counters()["prediction.pending"] == 0
        assert sum(batch.count("closed_shadow") for batch in joined.batches) > 100
        found.add((*joined.values("observations"), joined.fold.dump()))
    assert len(found) == 1


def test_the_crowd_does_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above compares is taken: with room in the batches all of the crowd goes in one
    step; without, some of it goes in smaller ones."""
    taken = list[int]()
    put = Closing.put

    def counted(found: Closing) -> None:
        taken.append(len(found.heads))
        put(found)

    monkeypatch.setattr(Closing, "put", counted)
    join(crowd(3, rich=False), replace(SETTINGS, facts_per_batch=5_000))
    assert max(taken) > 300
    taken.clear()
    join(crowd(3, rich=False), replace(SETTINGS, facts_per_batch=200))
    assert taken
    assert max(taken) < 400
