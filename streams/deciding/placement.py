"""An experiment lives in exactly one partition: two would make two histories of it."""

from __future__ import annotations

import re

from tidegate.schemas.errors import EventError
from tidegate.schemas.partitioner import partition_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_placement(experiment: str, partition: int, count: int) -> None:
    """Raises EventError unless `experiment` is a name and belongs to `partition` of `count`."""
    if _NAME.fullmatch(experiment) is None:
        raise EventError("value", f"{experiment:.60} is no name of an experiment")
    home = partition_of(experiment.encode(), count)
    if home != partition:
        raise EventError("value", f"{experiment} belongs to partition {home}, not {partition}")
