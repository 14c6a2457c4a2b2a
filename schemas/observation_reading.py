"""Observations are read: the bytes that `encode_observation` writes fast, all others with care."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

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

_CONTEXTS_KEPT: Final = 8_192


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
    ends = _ends(batch)
    for kind, table in batch.tables.items():
        if batch.count(kind):
            _check_table(kind, table, ends)
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
    for name in (batch.engine, *batch.names):
        _check_name(name)
    for context in batch.contexts:
        _check_context(context)
    numbers = (batch.source_partition, batch.partition, batch.sequence, batch.log_time_ms)
    if min(numbers) < 0 or len(batch.covers) != len(STREAMS) or min(batch.covers) < 0:
        raise EventError("value", "negative number or wrong covers in an observation")
    if not batch.attributes or batch.attributes[0]:
        raise EventError("value", "attribute set 0 is not the empty set")


@lru_cache(maxsize=_CONTEXTS_KEPT)
def _check_context(context: Context) -> None:
    """Contexts repeat from batch to batch. What is kept is sound, and so it is small."""
    for text in context:
        if isinstance(text, str):
            _check_name(text)


def _check_name(name: str) -> None:
    size = len(name.encode())
    if not 1 <= size <= limits.NAME_BYTES_MAX:
        raise EventError("length", f"name of {size} bytes in an observation")


def _check_table(kind: str, table: Table, ends: Mapping[str, int]) -> None:
    for name, end, optional in _INDEXES[kind]:
        column, below = table[name], ends[end]
        if np.maximum.reduce(column) < below:
            continue
        outside = column >= below
        if optional:
            outside &= column != NONE
        if outside.any():
            raise EventError("value", f"{kind}.{name}: {int(column[outside][0])}, below {below}")
    if kind == "irregular" and not table["class"].all():
        raise EventError("value", "irregular.class: 0")
    for name, low, high, optional in _RANGES[kind]:
        column = table[name]
        # A NaN is passed over where it may be; elsewhere it is told on, and within no range.
        least, most = (np.fmin, np.fmax) if optional else (np.minimum, np.maximum)
        if least.reduce(column) >= low and most.reduce(column) <= high:
            continue
        sound = (column >= low) & (column <= high)
        if optional:
            sound |= np.isnan(column)
        if not sound.all():
            raise EventError("value", f"{kind}.{name}: {float(column[~sound][0])!r}")


def _ends(batch: ObservationBatch) -> Mapping[str, int]:
    """The first number that is too large, by what is counted."""
    return {
        "contexts": len(batch.contexts),
        "attributes": len(batch.attributes),
        "names": len(batch.names),
        "exposures": batch.count("exposure"),
        "closed": batch.count("closed"),
        **_CODES,
    }


_CODES: Final = {
    "statuses": len(STATUSES), "classes": len(CLASSES), "streams": len(STREAMS),
    "agreements": AGREE_UNKNOWN + 1,
}  # fmt: skip
_COUNTED: Final[Mapping[str, str]] = {
    "context": "contexts", "shadow_context": "contexts", "attributes": "attributes",
    "metric": "names", "source": "names", "feature": "names", "name": "names",
    "status": "statuses", "shadow_status": "statuses", "agree": "agreements",
    "class": "classes", "stream": "streams",
}  # fmt: skip
"""Column -> what its numbers count, but for `row`."""


def _may_lack(kind: str, name: str) -> bool:
    return name == "source" or (kind == "irregular" and name in ("context", "metric"))


def _may_be_nan(kind: str, name: str) -> bool:
    if kind == "closed_shadow":  # it is told only of requests that have both scores
        return False
    return kind == "irregular" or name in limits.OPTIONAL_COLUMNS


def _counted(kind: str, name: str) -> str | None:
    if name != "row":
        return _COUNTED.get(name)
    return "exposures" if kind in ("exposure_feature", "measure") else "closed"


_INDEXES: Final[Mapping[str, Sequence[tuple[str, str, bool]]]] = {
    kind: [
        (name, counted, _may_lack(kind, name))
        for name, _ in columns
        if (counted := _counted(kind, name)) is not None
    ]
    for kind, columns in COLUMNS.items()
}
"""Kind -> (column, what its numbers count, may be NONE)."""
_RANGES: Final[Mapping[str, Sequence[tuple[str, float, float, bool]]]] = {
    kind: [
        (name, *limits.COLUMN_RANGES[name], _may_be_nan(kind, name))
        for name, _ in columns
        if name in limits.COLUMN_RANGES
    ]
    for kind, columns in COLUMNS.items()
}
"""Kind -> (column, least, most, may be NaN)."""
