"""What a fold wants written: the only way out of the pure core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Output:
    """A record to be written. `topic` is the name in `schemas.topics.TOPICS`, without prefix.

    Without a value it is a tombstone, for a compacted topic.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes | None


Emit = Callable[[Output], None]
