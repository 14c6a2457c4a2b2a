"""What an audit finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

DIGEST_BYTES: Final = 16

DIFFERS = "differs"
COPIES_DIFFER = "copies differ"
MISSING = "missing"
UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True)
class Difference:
    """A record that is not what the logs give.

    `what`: DIFFERS, COPIES_DIFFER, MISSING (derived, and later ones were written) or UNEXPECTED
    (written, and not derived). `offset` is that of the record, -1 when there is none;
    `log_time_ms` 0 when it cannot be told. `source_partition` and `sequence` name a batch of
    observations.
    """

    topic: str
    partition: int
    name: str
    what: str
    offset: int
    log_time_ms: int
    source_partition: int = -1
    sequence: int = -1


@dataclass(slots=True)
class Tally:
    """How many records of a topic were read, were copies of one before, were derived, agreed."""

    recorded: int = 0
    copies: int = 0
    derived: int = 0
    equal: int = 0
    unreadable: int = 0
    other_engines: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    def foreign(self, engine: str) -> None:
        """Count a record that another engine made: it cannot be compared."""
        self.other_engines[engine] = self.other_engines.get(engine, 0) + 1


def digest(value: bytes) -> bytes:
    """What is kept of a record to compare others with."""
    return sha256(value).digest()[:DIGEST_BYTES]


def total(tallies: Sequence[Tally]) -> Tally:
    """The tallies of several partitions in one."""
    summed = Tally()
    for tally in tallies:
        summed.recorded += tally.recorded
        summed.copies += tally.copies
        summed.derived += tally.derived
        summed.equal += tally.equal
        summed.unreadable += tally.unreadable
        summed.differences += tally.differences
        for engine, count in tally.other_engines.items():
            summed.other_engines[engine] = summed.other_engines.get(engine, 0) + count
    return summed
