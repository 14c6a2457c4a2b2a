"""Outcomes of a run -> columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.schemas import codec, limits
from tidegate.schemas.decoding.batch import BatchDecoder
from tidegate.schemas.decoding.columns import OutcomeColumns
from tidegate.schemas.decoding.cursor import Cursor, first_words
from tidegate.schemas.decoding.guards import outcome_row
from tidegate.schemas.decoding.hashes import digests


class OutcomeDecoder(BatchDecoder):
    """Reads `Outcome`; the tail begins with `metric`."""

    def __init__(self, bindings: codec.Bindings | None = None) -> None:
        super().__init__("outcome", 1, outcome_row, bindings)

    def decode(self, values: Sequence[bytes | None], start: int, stop: int) -> OutcomeColumns:
        """Columns and faults of values[start:stop]."""
        return OutcomeColumns(*self._read(values, start, stop))

    def _fields(self, cursor: Cursor) -> tuple[list[Any], ...]:
        keys = digests(cursor.name())
        outcome_ids = first_words(digests(cursor.name()))
        found = cursor.double(-limits.VALUE_MAX, limits.VALUE_MAX).tolist()
        occurred_at = cursor.time().tolist()
        return keys, outcome_ids, found, occurred_at
