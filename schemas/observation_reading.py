"""Observations are read: the bytes that `encode_observation` writes fast, all others with care."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas import codec, limits
from tidegate.schemas.context import Context
from tidegate.schemas.errors import EventError
from tidegate.schemas.facts import (
    AGREE_UNKNOWN,
    CLASSES,
    COLUMNS,
    DTYPES,
    NONE,
    STATUSES,
    STREAMS,
    ObservationBatch,
    Table,
    empty_table,
)
from tidegate.schemas.observation_canonical import read_canonical


def decode_observation(value: bytes) -> ObservationBatch:
    """The batch in `value`; its arrays are read-only.

    Raises:
        EventError: anything that would let a reader count wrongly: unknown or repeated kinds,
            column lengths that do not fit the count, indexes out of range, unknown codes,
            an engine, context or attribute set that is not sound.
    """
    batch = read_canonical(value)
    if batch is None:
        batch = _batch(codec.decode_record("observation", value, None))
    _check_head(batch)
    for kind, table in batch.tables.items():
        _check_table(batch, kind, table)
    return batch


def _batch(record: Mapping[str, Any]) -> ObservationBatch:
    contexts = tuple(Context(**item) for item in record["contexts"])
    attributes = tuple(tuple(sorted(item.items())) for item in record["attributes"])
    return ObservationBatch(
        record["source_partition"], record["partition"], record["sequence"], record["engine"],
        record["log_time"], tuple(record["covers"]), contexts, attributes,
        tuple(record["names"]), _read_tables(record["tables"]),
    )


def _read_tables(found: Sequence[Mapping[str, Any]]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for item in found:
        kind, count = item["kind"], item["count"]
        dtypes = DTYPES.get(kind)
        if dtypes is None or kind in tables:
            raise EventError("value", f"fact table {kind!r} is unknown or repeated")
        if not 0 <= count <= limits.OBSERVATION_ROWS_MAX:
            raise EventError("value", f"{kind}: {count} rows")
        if [column["name"] for column in item["columns"]] != list(dtypes):
            raise EventError("value", f"{kind}: columns are not {list(dtypes)}")
        table: dict[str, NDArray[Any]] = {}
        for column, (name, dtype) in zip(item["columns"], dtypes.items(), strict=True):
            if len(column["data"]) != count * dtype.itemsize:
                raise EventError("length", f"{kind}.{name}: not {count} items of {dtype}")
            table[name] = np.frombuffer(column["data"], dtype=dtype)
        tables[kind] = table
    return {kind: tables.get(kind) or empty_table(kind) for kind in COLUMNS}


def _check_head(batch: ObservationBatch) -> None:
    names = [batch.engine, *batch.names]
    for context in batch.contexts:
        names += [text for text in context if isinstance(text, str)]
    for text in names:
        if not 1 <= len(text.encode()) <= limits.NAME_BYTES_MAX:
            raise EventError("length", f"name of {len(text.encode())} bytes in an observation")
    numbers = (batch.source_partition, batch.partition, batch.sequence, batch.log_time_ms)
    if min(numbers) < 0 or len(batch.covers) != len(STREAMS) or min(batch.covers) < 0:
        raise EventError("value", "negative number or wrong covers in an observation")
    if not batch.attributes or batch.attributes[0]:
        raise EventError("value", "attribute set 0 is not the empty set")


def _check_table(batch: ObservationBatch, kind: str, table: Table) -> None:
    if not batch.count(kind):
        return
    for name, (optional, below) in _index_limits(batch, kind).items():
        column = table[name]
        if np.maximum.reduce(column) < below:
            continue
        outside = column >= below
        if optional:
            outside &= column != NONE
        if outside.any():
            raise EventError("value", f"{kind}.{name}: {int(column[outside][0])}, below {below}")
    if kind == "irregular" and not table["class"].all():
        raise EventError("value", "irregular.class: 0")
    for name in filter(limits.COLUMN_RANGES.__contains__, table):
        column, (low, high) = table[name], limits.COLUMN_RANGES[name]
        optional = name in limits.OPTIONAL_COLUMNS or kind == "irregular"
        # A NaN is passed over where it may be; elsewhere it is told on, and within no range.
        least, most = (np.fmin, np.fmax) if optional else (np.minimum, np.maximum)
        if least.reduce(column) >= low and most.reduce(column) <= high:
            continue
        sound = (column >= low) & (column <= high)
        if optional:
            sound |= np.isnan(column)
        if not sound.all():
            raise EventError("value", f"{kind}.{name}: {float(column[~sound][0])!r}")


def _index_limits(batch: ObservationBatch, kind: str) -> dict[str, tuple[bool, int]]:
    """Column -> (may be NONE, first number that is too large)."""
    rows = "exposure" if kind in ("exposure_feature", "measure") else "closed"
    ends = {
        "context": (kind == "irregular", len(batch.contexts)),
        "shadow_context": (False, len(batch.contexts)),
        "attributes": (False, len(batch.attributes)),
        "metric": (kind == "irregular", len(batch.names)),
        "source": (True, len(batch.names)),
        "feature": (False, len(batch.names)),
        "name": (False, len(batch.names)),
        "row": (False, batch.count(rows)),
        "status": (False, len(STATUSES)),
        "shadow_status": (False, len(STATUSES)),
        "agree": (False, AGREE_UNKNOWN + 1),
        "class": (False, len(CLASSES)),
        "stream": (False, len(STREAMS)),
    }
    return {name: ends[name] for name, _ in COLUMNS[kind] if name in ends}
