"""Heads of observations: read alone, and never trusted with a length."""

from __future__ import annotations

import pytest

from tidegate.schemas.errors import EventError
from tidegate.schemas.facts import ObservationBatch, encode_observation
from tidegate.schemas.observation_head import observation_head
from tidegate.schemas.observation_reading import decode_observation

BATCH = ObservationBatch(
    source_partition=3, partition=1, sequence=70_000, engine="e" * 16,
    log_time_ms=1_700_000_000_000, covers=(1, 2, 3),
)  # fmt: skip
VALUE = encode_observation(BATCH)


def test_a_head_says_what_the_whole_says() -> None:
    """Reading less gives the same."""
    whole = decode_observation(VALUE)
    assert observation_head(VALUE) == (
        whole.source_partition, whole.partition, whole.sequence, whole.engine, whole.log_time_ms,
    )  # fmt: skip


@pytest.mark.parametrize("size", range(VALUE.index(b"e" * 16) + 16 + 6))
def test_a_head_that_ends_too_early_is_refused(size: int) -> None:
    """Every prefix is an error of the wire, nothing else."""
    with pytest.raises(EventError):
        observation_head(VALUE[:size])


def test_a_head_with_impossible_contents_is_refused() -> None:
    """A negative number, and an engine without a name or far too long."""
    start = VALUE.index(b"\x20" + b"e" * 16)
    for engine in (b"\x00", b"\xfe\xff\x0f"):
        with pytest.raises(EventError, match="engine"):
            observation_head(VALUE[:start] + engine + VALUE[start + 17 :])
    with pytest.raises(EventError, match="negative"):
        observation_head(VALUE[: start - 4] + b"\x01" + VALUE[start - 3 :])
