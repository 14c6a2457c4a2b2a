"""Record by record through the codec and the guards: what every decoder must agree with."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any

from tidegate.schemas import codec
from tidegate.schemas.decoding.guards import outcome_row, prediction_row, shadow_row
from tidegate.schemas.decoding.outcomes import OutcomeDecoder
from tidegate.schemas.decoding.predictions import PredictionDecoder
from tidegate.schemas.decoding.shadows import ShadowDecoder
from tidegate.schemas.errors import EventError, UnknownSchemaId

KINDS: Mapping[str, Any] = {
    "prediction": (PredictionDecoder, prediction_row),
    "shadow-prediction": (ShadowDecoder, shadow_row),
    "outcome": (OutcomeDecoder, outcome_row),
}

Rows = list[tuple[Any, ...]]


def one_by_one(
    name: str, values: Sequence[bytes | None], bindings: codec.Bindings | None = None
) -> tuple[Rows, Rows]:
    """Rows, each with its index first, and faults."""
    rows: Rows = []
    faults: Rows = []
    for number, value in enumerate(values):
        try:
            row = KINDS[name][1](codec.decode_record(name, value, bindings or {}))
        except UnknownSchemaId as error:
            faults.append((number, "schema", f"{error}, and there is no registry"))
        except EventError as error:
            faults.append((number, error.reason, error.detail))
        else:
            rows.append(_comparable((number, *row)))
    return rows, faults


def decoded(
    decoder: Any, values: Sequence[bytes | None], size: int | None = None, ahead: bool = True
) -> tuple[Rows, Rows]:
    """The same from a decoder, in runs of `size` records or in one.

    `ahead`: the runs are of one fetch, so that the decoder may look ahead; else each has its own.
    """
    rows: Rows = []
    faults: Rows = []
    step = size or max(1, len(values))
    for start in range(0, len(values), step):
        stop = min(start + step, len(values))
        if ahead:
            shift, found = 0, decoder.decode(values, start, stop)
        else:
            shift, found = start, decoder.decode(values[start:stop], 0, stop - start)
        columns = [getattr(found, item.name) for item in fields(found)]
        columns[0] = [index + shift for index in columns[0]]
        rows += map(_comparable, zip(*columns[:-1], strict=True))
        faults += [(index + shift, *fault) for index, *fault in columns[-1]]
    return rows, faults


def _comparable(row: Sequence[Any]) -> tuple[Any, ...]:
    """NaN equals NaN, and 0.0 is not -0.0: doubles are compared as bytes."""
    return tuple(
        struct.pack("<d", item) if isinstance(item, float)
        else (type(item), astuple(item)) if hasattr(item, "__dataclass_fields__")
        else item
        for item in row
    )
