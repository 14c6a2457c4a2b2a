"""Decoding record by record, each only once: schedules have few records a fetch, and many fetches.

The joiner's decoders read whole fetches by columns, which pays from dozens of records on; for what
is unusual they have another way, record by record. Most schedules go that way and remember what
came of it, which `tests/schemas` holds equal to the columns; every fourth decodes as in production.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache, lru_cache
from typing import Any

from tidegate.schemas import codec
from tidegate.schemas.decoding.batch import BatchDecoder, Lists
from tidegate.schemas.decoding.columns import OutcomeColumns, PredictionColumns, ShadowColumns
from tidegate.schemas.decoding.outcomes import OutcomeDecoder
from tidegate.schemas.decoding.predictions import PredictionDecoder
from tidegate.schemas.decoding.shadows import ShadowDecoder
from tidegate.schemas.errors import EventError

_COLUMNS = {
    "prediction": PredictionColumns, "shadow-prediction": ShadowColumns, "outcome": OutcomeColumns,
}  # fmt: skip


@cache
def _decoder(name: str) -> BatchDecoder:
    kinds = {
        "prediction": PredictionDecoder, "shadow-prediction": ShadowDecoder,
        "outcome": OutcomeDecoder,
    }  # fmt: skip
    return kinds[name]()


@cache
def _width(name: str) -> int:
    return len(fields(_COLUMNS[name])) - 2


@lru_cache(32_768)
def _row(name: str, value: bytes | None) -> tuple[Any, ...] | tuple[str, str]:
    """The columns of one record, or (reason, detail) when it is a dead letter."""
    try:
        return tuple(_decoder(name)._row(codec.decode_record(name, value, None)))
    except EventError as error:
        return error.reason, error.detail


def read_each(
    self: BatchDecoder, values: Sequence[bytes | None], start: int, stop: int
) -> Lists:
    """Stands in for `BatchDecoder._read`."""
    width = _width(self._name)
    index, rows, faults = [], [], []
    for place in range(start, stop):
        row = _row(self._name, values[place])
        if len(row) == width:
            index.append(place)
            rows.append(row)
        else:
            faults.append((place, *row))
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
    return index, *columns, faults
