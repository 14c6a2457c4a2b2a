"""Predictions of a run -> columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.schemas import codec, limits
from tidegate.schemas.decoding.batch import BatchDecoder
from tidegate.schemas.decoding.columns import PredictionColumns
from tidegate.schemas.decoding.cursor import Cursor, first_words
from tidegate.schemas.decoding.guards import prediction_row
from tidegate.schemas.decoding.hashes import LabelCodes, digests
from tidegate.schemas.decoding.layouts import MapLayout


class PredictionDecoder(BatchDecoder):
    """Reads `Prediction`; the tail begins with `attributes`, so it also names the attribute set."""

    def __init__(self, bindings: codec.Bindings | None = None) -> None:
        super().__init__("prediction", 2, prediction_row, bindings, ("attributes", "slate"))
        self._labels = LabelCodes()
        self._features: list[MapLayout] = []
        self._measures: list[MapLayout] = []

    def decode(self, values: Sequence[bytes | None], start: int, stop: int) -> PredictionColumns:
        """Columns and faults of values[start:stop]."""
        return PredictionColumns(*self._read(values, start, stop))

    def _fields(self, cursor: Cursor) -> tuple[list[Any], ...]:
        keys = digests(cursor.name())
        units = first_words(digests(cursor.name()))
        served_at = cursor.time().tolist()
        propensity = cursor.double(limits.PROPENSITY_MIN, 1.0).tolist()
        score = cursor.optional_double(-limits.VALUE_MAX, limits.VALUE_MAX).tolist()
        label = self._labels.codes(cursor.optional_text())
        latency = cursor.optional_double(0.0, limits.LATENCY_MS_MAX).tolist()
        features = cursor.optional_doubles(self._features, limits.FEATURES_MAX)
        measures = cursor.optional_doubles(self._measures, limits.MEASURES_MAX)
        return keys, units, served_at, propensity, score, label, latency, features, measures
