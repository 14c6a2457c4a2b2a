"""Where a partition goes on, and where it must not."""

from __future__ import annotations

import pytest

from tests.agents.hosting.bench import TOPICS
from tidegate.agents.hosting.partitions import Watermarks, check_positions
from tidegate.schemas.errors import DefinitionError


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


def test_a_checkpoint_of_another_merge_is_refused() -> None:
    """Adding a topic to a merge is a new engine."""
    with pytest.raises(DefinitionError, match="merges 2 topics"):
        check_positions((10, 10), TOPICS, 0, Watermarks((0, 0, 0), (20, 20, 20)))
