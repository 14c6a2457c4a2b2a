"""Input that was lost behind the checkpoint: what had been told is not told again, nor lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.streams.joining.traffic import SETTINGS, Joined, join, random_logs, start
from tests.streams.logs import Log, fetch
from tidegate.schemas.breaks import Break, gaps_of
from tidegate.schemas.facts import ObservationBatch
from tidegate.schemas.marks import Tick
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.topics import merged_topics

NAMES = [topic.name for topic in merged_topics("joiner")]


def first_tick(log: Log, begin: int) -> int:
    """A place at or behind `begin` where a tick stands: there the log shall begin."""
    return next(place for place in range(begin, len(log)) if isinstance(log[place], Tick))


def told_by(batches: Sequence[ObservationBatch]) -> tuple[tuple[int, int], ...]:
    """Log time and next number per observations partition, as the command reads them."""
    return tuple(
        (
            max((it.log_time_ms for it in batches if it.partition == partition), default=0),
            max((it.sequence + 1 for it in batches if it.partition == partition), default=0),
        )
        for partition in range(SETTINGS.observation_partitions)
    )


def go_on(logs: Sequence[Log], state: bytes, breaks: Sequence[Break], size: int = 50) -> Joined:
    """A joiner from a checkpoint, over logs that have nothing where the breaks say so."""
    joined = start()
    joined.fold.accept({rank: gaps_of(breaks, name, 1) for rank, name in enumerate(NAMES)})
    joined.fold.load(state)
    while True:
        offsets = joined.fold.merge.fetch_offsets
        wanted = [rank for rank in range(3) if offsets[rank] < len(logs[rank])]
        if not wanted:
            return joined
        for rank in wanted:
            joined.fold.feed(rank, fetch(logs[rank], offsets[rank], size))
            joined.fold.drain()


def closed(batches: Sequence[ObservationBatch]) -> Counter[int]:
    """How often each request is told as closed."""
    return Counter(it for batch in batches for it in batch.tables["closed"]["request"].tolist())


def exposed(batches: Sequence[ObservationBatch]) -> Counter[int]:
    """How often each request is told as answered."""
    return Counter(it for batch in batches for it in batch.tables["exposure"]["request"].tolist())


@pytest.mark.parametrize("ranks", [(0, 1, 2), (2,), (0,)], ids=["all", "outcomes", "predictions"])
@pytest.mark.parametrize("seed", range(12))
def test_behind_a_loss_nothing_is_told_twice(seed: int, ranks: tuple[int, ...]) -> None:
    """A joiner dies some batches behind its checkpoint, and those records are gone: numbers of
    batches go on densely, and no request is told as answered or closed a second time."""
    logs = random_logs(seed)
    calm = join(logs, checkpoint_records=60)
    cut = len(calm.checkpoints) // 3
    checkpoint, emitted = calm.checkpoints[cut], calm.emitted_before[cut]
    dead = [
        decode_observation(it.value)
        for it in calm.outputs[: emitted + 9]
        if it.topic == "observations" and it.value is not None
    ]
    breaks = []
    for rank in ranks:
        begin = checkpoint.next_offsets[rank]
        end = first_tick(logs[rank], begin + 120)
        breaks.append(Break(NAMES[rank], 1, begin, end, "lost", "ada", 0, told_by(dead)))
    after = go_on(logs, checkpoint.state, breaks)
    seen: dict[tuple[int, int], ObservationBatch] = {}
    for batch in [*dead, *after.batches]:
        seen.setdefault((batch.partition, batch.sequence), batch)
    for partition in range(SETTINGS.observation_partitions):
        numbers = sorted(number for of, number in seen if of == partition)
        assert numbers == list(range(len(numbers)))
    told = list(seen.values())
    assert max(closed(told).values()) == 1
    assert max(exposed(told).values()) == 1
    assert after.batches
    again = go_on(logs, checkpoint.state, breaks, size=7)
    assert again.outputs == after.outputs


@pytest.mark.parametrize("seed", range(12))
def test_what_was_open_is_closed_once_all_the_same(seed: int) -> None:
    """Requests that the checkpoint holds open close behind the loss, or had been told before."""
    logs = random_logs(seed)
    calm = join(logs, checkpoint_records=60)
    cut = len(calm.checkpoints) // 3
    checkpoint, emitted = calm.checkpoints[cut], calm.emitted_before[cut]
    before = [
        decode_observation(it.value)
        for it in calm.outputs[:emitted]
        if it.topic == "observations" and it.value is not None
    ]
    dead = [
        decode_observation(it.value)
        for it in calm.outputs[: emitted + 9]
        if it.topic == "observations" and it.value is not None
    ]
    breaks = [
        Break(name, 1, begin, first_tick(log, begin + 120), "lost", "ada", 0, told_by(dead))
        for name, log, begin in zip(NAMES, logs, checkpoint.next_offsets, strict=True)
    ]
    after = go_on(logs, checkpoint.state, breaks)
    was_open = exposed(before).keys() & closed(calm.batches).keys() - closed(before).keys()
    assert was_open
    found = closed([*dead, *after.batches])
    assert {request: found[request] for request in was_open} == dict.fromkeys(was_open, 1)
    reloaded = start(state=after.fold.dump())
    assert reloaded.fold.dump() == after.fold.dump()
