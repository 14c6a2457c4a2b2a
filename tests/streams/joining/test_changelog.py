"""Changes in segments: a joiner put together from them is the joiner that wrote them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.streams.joining.scenario import Scenario, requests_of
from tests.streams.joining.traffic import SETTINGS, join, random_logs
from tidegate.streams import folding
from tidegate.streams.joining import changelog
from tidegate.streams.joining.changes import (
    GIVEN_UP,
    JOINED,
    OPENED,
    Changes,
    decode_changes,
    encode_changes,
    feature_counts,
    together,
)
from tidegate.streams.joining.layout import REQUEST_ROWS
from tidegate.streams.joining.sections import split
from tidegate.streams.joining.settings import JoinerSettings

WIDE = Path(__file__).parent / "wide.changes"
FORGETFUL = replace(SETTINGS, closed_memory_ms=400, closed_max=25, open_max=30)
"""Requests close, are forgotten by time and by number, and are given up, all in a short log."""


@pytest.mark.parametrize("settings", [SETTINGS, FORGETFUL])
@pytest.mark.parametrize("seed", range(3))
def test_a_chain_of_segments_is_the_whole_state(
    monkeypatch: pytest.MonkeyPatch, seed: int, settings: JoinerSettings
) -> None:
    """From any checkpoint on, with its segments: every request is as in a joiner that wrote all of
    it into one checkpoint, outputs and later checkpoints are the same, and so are the segments,
    whoever writes them."""
    logs = random_logs(seed, steps=300)
    monkeypatch.setattr(changelog, "KEPT_SLACK", 40)
    whole = join(logs, settings, checkpoint_records=1)
    monkeypatch.setattr(folding, "SEGMENT_RECORDS", 40)
    reference = join(logs, settings, checkpoint_records=1)
    assert reference.outputs == whole.outputs
    states = {it.released: (it.state, it.segments) for it in reference.checkpoints}
    emitted_before = reference.emitted_before
    pairs = list(zip(reference.checkpoints, whole.checkpoints, emitted_before, strict=True))
    assert sum(bool(checkpoint.segments) for checkpoint, _, _ in pairs) > 20
    for checkpoint, one, emitted in pairs[::5]:
        contents = [reference.segments[digest] for digest in checkpoint.segments]
        again = join([[], [], []], settings, state=checkpoint.state, segments=contents)
        at_once = join([[], [], []], settings, state=one.state)
        assert requests_of(again.joiner) == requests_of(at_once.joiner)
        again = join(logs, settings, lambda: 23, emitted, 40, checkpoint.state, contents)
        assert again.outputs == reference.outputs[emitted:]
        assert requests_of(again.joiner) == requests_of(reference.joiner)
        assert again.segments.items() <= reference.segments.items()
        for later in again.checkpoints:
            assert (later.state, later.segments) == states[later.released]


def test_what_lies_in_segments_is_not_dumped_again() -> None:
    """A dump tells what came since the last seal."""
    scenario = Scenario()
    for number in range(500):
        scenario.predict(f"r{number}")
    full = len(scenario.joiner.dump())
    assert full > 500 * 40
    assert len(scenario.seal().joiner.dump()) < full // 10
    scenario.reload().outcome("r7").predict("r500").reload()
    assert scenario.count("prediction.pending") == 501
    assert scenario.count("outcome.counted") == 1


def test_segments_are_needed_until_their_requests_are_forgotten() -> None:
    """A segment goes when the last of its requests is forgotten; what waits for long is in others
    than what waits for a moment."""
    scenario = Scenario(replace(SETTINGS, closed_memory_ms=1_000))
    scenario.predict("soon").predict("late", reward_wait_ms=3_600_000).outcome("soon").seal()
    assert len(scenario.joiner.segments) == 2
    scenario.at(1_000).predict("between").seal().reload()
    assert len(scenario.joiner.segments) == 3
    scenario.at(10_000).seal().reload()
    assert len(scenario.joiner.segments) == 1
    scenario.outcome("late").reload().at(4_000_000).seal().reload()
    assert scenario.joiner.segments == ()
    assert scenario.count("prediction.counted") == 3


@pytest.mark.parametrize("sealed", [False, True])
def test_a_key_that_comes_again_begins_anew(sealed: bool) -> None:
    """Outcomes of a request that is forgotten are not those of the next one with its id, though
    both are told of in the same segment."""
    scenario = Scenario(replace(SETTINGS, closed_memory_ms=100))
    scenario.predict("r").predict("long", reward_wait_ms=50_000).outcome("r", outcome_id="first")
    if sealed:
        scenario.seal()
    scenario.at(5_000).predict("r").outcome("r", outcome_id="second").outcome("r")
    if sealed:
        scenario.seal()
    scenario.reload().outcome("r", outcome_id="first").outcome("r", outcome_id="second")
    assert scenario.count("outcome.counted") == 4
    assert scenario.count("outcome.duplicate") == 1
    scenario.reload()


@pytest.mark.parametrize("sealed", [False, True])
def test_what_was_given_up_stays_so(sealed: bool) -> None:
    """A request that made way for others is not open again after a restart, unless it came
    again."""
    scenario = Scenario(replace(SETTINGS, open_max=2))
    for number, request in enumerate(("a", "b", "c", "a", "d")):
        scenario.predict(request, reward_wait_ms=500 + 100 * number)
        if sealed:
            scenario.seal()
    before = requests_of(scenario.joiner)
    assert scenario.count("prediction.expired") == 3
    scenario.reload()
    assert requests_of(scenario.joiner) == before
    assert scenario.count("prediction.pending") == 2


def test_a_flood_does_not_swell_the_changelog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where most requests are given up, segments begin anew with those that are left; features and
    outcomes are kept."""
    monkeypatch.setattr(changelog, "KEPT_SLACK", 10)
    monkeypatch.setattr(changelog, "SEGMENT_ROWS", 4)
    scenario = Scenario(replace(SETTINGS, open_max=10))
    scenario.predict("closed").outcome("closed").at(5_000)
    for number in range(400):
        features = {"age": float(number), "size": 2.0} if number % 3 else None
        scenario.predict(f"r{number}", features=features, reward_wait_ms=3_600_000 - 100 * number)
        if number % 2:
            scenario.outcome(f"r{number}").outcome(f"r{number}", outcome_id="again")
        if number % 7 == 0:
            scenario.seal().reload()
    kept = [decode_changes(scenario.segments[digest]) for digest in scenario.joiner.segments]
    assert 10 <= sum(len(changes.opened) for changes in kept) < 100
    assert max(len(changes) for changes in kept) <= 3 * 4
    assert scenario.count("prediction.pending") == 10
    assert scenario.count("closed") == 1


def test_a_missing_segment_is_found() -> None:
    """A state is never taken for whole without its segments, whether they tell of open requests or
    of closed ones."""
    scenario = Scenario().predict("r").seal()
    other = Scenario()
    with pytest.raises(ValueError, match="0 requests are open, not 1"):
        other.joiner.load(scenario.joiner.dump())
    scenario.at(5_000)
    with pytest.raises(ValueError, match="1 closed requests are missing"):
        other.joiner.load(scenario.joiner.dump())


def drawn(seed: int) -> Changes:
    """Changes with arbitrary contents."""
    source = np.random.default_rng(seed)
    sizes = source.integers(0, 30, 3).tolist()

    def table(dtype: np.dtype[np.void], size: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        octets = source.integers(0, 256, size * dtype.itemsize, dtype=np.uint8)
        return octets.view(dtype)

    opened = table(OPENED, sizes[0])
    rows = np.ascontiguousarray(opened["row"]).view(REQUEST_ROWS)
    rows["features"] = source.integers(0, 4, sizes[0])
    opened["row"] = rows.view(OPENED["row"])
    features = source.random(int(feature_counts(opened).sum()))
    return Changes(opened, features, table(JOINED, sizes[1]), table(GIVEN_UP, sizes[2]))


@pytest.mark.parametrize("seed", range(20))
def test_changes_come_back_from_their_bytes(seed: int) -> None:
    """Every byte of every table, and equal changes are equal bytes."""
    changes = drawn(seed)
    again = decode_changes(encode_changes(changes))
    for name in ("opened", "features", "joined", "given_up"):
        assert getattr(again, name).tobytes() == getattr(changes, name).tobytes()
    assert encode_changes(again) == encode_changes(changes)


WIDTHS = (
    (0, 1), (1, 1), (127, 1), (-128, 1), (128, 2), (-129, 2), (32_767, 2), (-32_768, 2),
    (32_768, 4), (2**31 - 1, 4), (-(2**31), 4), (2**31, 8), (-(2**31) - 1, 8), (2**62, 8),
)  # fmt: skip
"""By how much a value differs from the one before, and how many bytes say so."""


@pytest.mark.parametrize(("step", "width"), WIDTHS)
def test_steps_take_no_more_bytes_than_they_need(step: int, width: int) -> None:
    """The first value takes 8 bytes, whatever it is; all come back."""
    changes = together(())
    given_up = np.zeros(101, GIVEN_UP)
    given_up["until_ms"] = 1_763_000_000_000
    given_up["until_ms"][50:] += step
    changes = replace(changes, given_up=given_up)
    encoded = encode_changes(changes)
    assert decode_changes(encoded).given_up.tobytes() == given_up.tobytes()
    _, _, _, until_ms, after, keys = split(encoded)
    assert (len(until_ms), len(after), len(keys)) == (8 + 100 * width, 8 + 100, 101 * 16)


def test_wide_numbers_are_read_too() -> None:
    """`wide.changes` was written by a version that knew no narrow ones; such versions hand their
    states over at an engine barrier."""
    changes = together([drawn(seed) for seed in range(2)])
    for table in (changes.opened, changes.joined):
        table["serial"] = np.arange(len(table))
    wide, narrow = WIDE.read_bytes(), encode_changes(changes)
    assert len(narrow) < len(wide)
    assert encode_changes(decode_changes(wide)) == narrow


def test_changes_are_chosen_with_their_features() -> None:
    """Masks choose features with the requests they are of."""
    changes, source = together([drawn(1), drawn(2), drawn(3)]), random.Random(4)
    counts = feature_counts(changes.opened).tolist()
    mask = np.array([source.random() < 0.5 for _ in counts])
    empty = np.zeros(len(changes.joined), bool), np.zeros(len(changes.given_up), bool)
    chosen = changes.where(mask, *empty)
    wanted, start = list[float](), 0
    for count, is_chosen in zip(counts, mask.tolist(), strict=True):
        wanted += changes.features[start : start + count].tolist() if is_chosen else []
        start += count
    assert chosen.features.tolist() == wanted
    assert len(chosen) == mask.sum()
