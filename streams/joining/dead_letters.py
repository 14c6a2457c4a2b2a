"""What cannot be counted goes to `dead-letters`, with the place it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidegate.schemas.codec import encode
from tidegate.schemas.decoding.columns import Fault
from tidegate.schemas.events import DeadLetter
from tidegate.streams.merge import Run
from tidegate.streams.output import Emit, Output

VALUE_BYTES_MAX: Final = 4_096
"""So much of a refused record is kept."""
DETAIL_CHARACTERS_MAX: Final = 400


class DeadLetters:
    """Writes the dead letters of one partition index; `topics` are the merged ones, by rank."""

    def __init__(self, partition: int, topics: Sequence[str], engine: str, emit: Emit) -> None:
        self._partition = partition
        self._topics = topics
        self._engine = engine
        self._emit = emit

    def put(self, run: Run, faults: Sequence[Fault]) -> None:
        """One dead letter per fault, in the order of the log."""
        topic = self._topics[run.rank]
        for index, reason, detail in sorted(faults):
            letter = DeadLetter(
                reason=reason,
                detail=detail[:DETAIL_CHARACTERS_MAX],
                topic=topic,
                partition=self._partition,
                offset=run.first_offset + index - run.start,
                log_time=run.log_time_ms,
                value=(run.values[index] or b"")[:VALUE_BYTES_MAX],
                engine=self._engine,
            )
            key = f"{topic}-{self._partition}".encode()
            self._emit(Output("dead-letters", 0, key, encode(letter)))
