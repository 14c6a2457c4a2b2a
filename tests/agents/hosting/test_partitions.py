"""Where a partition goes on, and where it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.agents.counting import CountingHandler
from tests.agents.hosting.bench import TOPICS
from tests.streams.logs import fetch
from tidegate.agents.hosting.partitions import Watermarks, check_positions, place, skipped_offsets
from tidegate.agents.hosting.restore import Restored
from tidegate.agents.hosting.snapshots import pack
from tidegate.schemas.breaks import Break, gaps_of
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.marks import Tick
from tidegate.streams.folding import Checkpoint, PartitionFold


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ((11, 0, 0), (20, 20, 20), "retention has deleted everything before 11"),
        ((0, 0, 0), (9, 20, 20), "the log ends at 9"),
    ],
)
def test_logs_that_do_not_fit_the_checkpoint_are_refused(
    low: tuple[int, ...], high: tuple[int, ...], words: str
) -> None:
    """Going on would leave out records that were never counted."""
    with pytest.raises(DefinitionError) as refused:
        check_positions((10, 10, 10), TOPICS, 0, Watermarks(low, high))
    assert len(refused.value.faults) == 1
    assert words in refused.value.faults[0]


def test_what_retention_deleted_can_be_accepted_by_the_command_it_names() -> None:
    """The refusal spells it out; with the break of that command the partition goes on, with one
    that begins or ends elsewhere it does not."""
    held = Watermarks((0, 0, 15), (20, 20, 20))
    with pytest.raises(DefinitionError) as refused:
        check_positions((10, 10, 10), TOPICS, 2, held)
    command = "tidegate mark skip --topic outcomes --partition 2 --from 10 --to 15 --reason"
    assert command in refused.value.faults[0]

    def held_with(begin: int, end: int) -> Watermarks:
        return replace(held, gaps={2: gaps_of([Break("outcomes", 2, begin, end, "", "", 0)],
                                              "outcomes", 2)})  # fmt: skip

    check_positions((10, 10, 10), TOPICS, 2, held_with(10, 15))
    for begin, end in ((9, 15), (11, 15), (10, 14)):
        with pytest.raises(DefinitionError):
            check_positions((10, 10, 10), TOPICS, 2, held_with(begin, end))


def test_skipped_offsets_are_counted_once_they_are_passed() -> None:
    """What lies ahead is not passed yet."""
    fold = PartitionFold(2, 3, CountingHandler(2, lambda output: None))
    breaks = [Break("outcomes", 2, 0, 7, "", "", 0), Break("outcomes", 2, 9, 12, "", "", 0)]
    fold.accept({2: gaps_of(breaks, "outcomes", 2)})
    assert skipped_offsets(fold) == [0, 0, 0]
    for rank in (0, 1):
        fold.feed(rank, fetch([Tick(5)], 0, 1))
    fold.drain()
    assert skipped_offsets(fold) == [0, 0, 7]


def test_without_a_whole_checkpoint_cut_logs_are_refused() -> None:
    """Numbers would begin at 0 again and be dropped in silence; uncut logs give the same again,
    and where there was no checkpoint the logs' beginning is the beginning."""
    torn = pack("joiner", "e1", Checkpoint(2, 40, (40, 0, 0), (1, 1, 1), b"state", "")).manifest
    lost, never = Restored(None, None, (torn,), ()), Restored(None, None, (), ())
    for restored, low, is_refused in (
        (lost, (0, 7, 0), True), (lost, (0, 0, 0), False), (never, (0, 7, 0), False)
    ):
        fold = PartitionFold(2, 3, CountingHandler(2, lambda output: None))
        held = Watermarks(low, (50, 50, 50))
        if not is_refused:
            place(fold, TOPICS, restored, held)
            assert tuple(fold.merge.next_offsets) == low
            continue
        with pytest.raises(DefinitionError, match="at 40 records, but none is whole") as why:
            place(fold, TOPICS, restored, held)
        assert why.value.faults == (f"{TOPICS[1]}-2 begins at offset 7",)


def test_a_state_that_this_version_cannot_read_is_refused_with_a_remedy() -> None:
    """One of another version, left at a barrier: no stack trace, but what to start."""
    fold = PartitionFold(2, 3, Unreadable(2, lambda _: None))
    checkpoint = Checkpoint(2, 9, (3, 3, 3), (1, 1, 1), fold.dump(), "mine")
    packed = pack("joiner", "theirs", checkpoint)
    restored = Restored(packed.manifest, checkpoint.state, (), ())
    with pytest.raises(DefinitionError, match=r"engine theirs.*KeyError.*start the version"):
        place(fold, TOPICS, restored, Watermarks((0, 0, 0), (9, 9, 9), {}, ()))


class Unreadable(CountingHandler):
    """Looks for what is not there."""

    def load(self, state: bytes) -> None:
        """A key that came later."""
        raise KeyError("shadowed")


def test_a_checkpoint_of_another_merge_is_refused() -> None:
    """Adding a topic to a merge is a new engine."""
    with pytest.raises(DefinitionError, match="merges 2 topics"):
        check_positions((10, 10), TOPICS, 0, Watermarks((0, 0, 0), (20, 20, 20)))
