"""An experiment lives in exactly one partition: two would make two histories of it."""

from __future__ import annotations

import re

from tidegate.schemas.errors import EventError
from tidegate.schemas.facts import ObservationBatch
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.partitioner import partition_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def batch_in(value: bytes | None, partition: int, sources: int) -> ObservationBatch:
    """The batch of a record of `observations`, that of this partition and of a source it has.

    Raises:
        EventError: it is none, or not for this partition.
    """
    if value is None:
        raise EventError("empty", "no value, and no mark among the headers")
    batch = decode_observation(value)
    if batch.partition != partition:
        raise EventError("value", f"belongs to partition {batch.partition} of observations")
    if batch.source_partition >= sources:
        raise EventError("value", f"no source partition {batch.source_partition}")
    return batch


def check_placement(experiment: str, partition: int, count: int) -> None:
    """Raises EventError unless `experiment` is a name and belongs to `partition` of `count`."""
    if _NAME.fullmatch(experiment) is None:
        raise EventError("value", f"{experiment:.60} is no name of an experiment")
    home = partition_of(experiment.encode(), count)
    if home != partition:
        raise EventError("value", f"{experiment} belongs to partition {home}, not {partition}")
