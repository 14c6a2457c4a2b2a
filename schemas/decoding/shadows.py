"""Shadow predictions of a run -> columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.schemas import codec, limits
from tidegate.schemas.decoding.batch import BatchDecoder
from tidegate.schemas.decoding.columns import ShadowColumns
from tidegate.schemas.decoding.cursor import Cursor
from tidegate.schemas.decoding.guards import shadow_row
from tidegate.schemas.decoding.hashes import LabelCodes, digests
from tidegate.schemas.decoding.layouts import MapLayout


class ShadowDecoder(BatchDecoder):
    """Reads `ShadowPrediction`; the tail begins with `slate`, which is rarely there."""

    def __init__(self, bindings: codec.Bindings | None = None) -> None:
        super().__init__("shadow-prediction", 1, shadow_row, bindings)
        self._labels = LabelCodes()
        self._measures: list[MapLayout] = []

    def decode(self, values: Sequence[bytes | None], start: int, stop: int) -> ShadowColumns:
        """Columns and faults of values[start:stop]."""
        return ShadowColumns(*self._read(values, start, stop))

    def _fields(self, cursor: Cursor) -> tuple[list[Any], ...]:
        keys = digests(cursor.name())
        served_at = cursor.time().tolist()
        score = cursor.optional_double(-limits.VALUE_MAX, limits.VALUE_MAX).tolist()
        label = self._labels.codes(cursor.optional_text())
        latency = cursor.optional_double(0.0, limits.LATENCY_MS_MAX).tolist()
        cursor.optional_doubles(self._measures, limits.MEASURES_MAX)
        return keys, served_at, score, label, latency
