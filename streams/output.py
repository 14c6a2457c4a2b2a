"""What a fold wants written: the only way out of the pure core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Output:
    """A record to be written. `topic` is the name in `schemas.topics.TOPICS`, without prefix."""

    topic: str
    partition: int
    key: bytes
    value: bytes


Emit = Callable[[Output], None]
