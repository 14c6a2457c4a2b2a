"""What requests have learned, as tables: opened, joined to, given up; and their way to bytes.

A table of changes is what a checkpoint writes of requests. Serial numbers say in which order things
happened: requests are numbered as they open, outcomes and shadows as they are joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tidegate.streams.joining.layout import ENTRIES, ENTRY_BYTES, REQUEST_ROWS
from tidegate.streams.joining.sections import join, split

Array = NDArray[Any]

ROW_BYTES: Final = REQUEST_ROWS.itemsize
OPENED: Final = np.dtype([("until_ms", "<i8"), ("serial", "<i8"), ("row", f"V{ROW_BYTES}")])
"""Deadline, serial number, key and head."""
JOINED: Final = np.dtype([
    ("until_ms", "<i8"), ("serial", "<i8"), ("after", "<i8"), ("key", "<u8", 2),
    ("entry", f"V{ENTRY_BYTES}"),
])  # fmt: skip
"""A time its request's deadline is not behind, serial number, how many requests had been opened
before, key, entry."""
GIVEN_UP: Final = np.dtype([("until_ms", "<i8"), ("after", "<i8"), ("key", "<u8", 2)])
"""Deadline, how many requests had been opened before, key."""

_TABLES: Final = (OPENED, JOINED, GIVEN_UP)
_ROWS: Final = {"row": REQUEST_ROWS, "entry": ENTRIES}


@dataclass(frozen=True, slots=True)
class Changes:
    """Tables of the dtypes above. `features` (f8) are those of the opened, one after the other, as
    many as each row says."""

    opened: Array
    features: Array
    joined: Array
    given_up: Array

    def __len__(self) -> int:
        """How many changes."""
        return len(self.opened) + len(self.joined) + len(self.given_up)

    @property
    def until_ms(self) -> int:
        """When the last of their requests has closed; there must be some."""
        tables = (self.opened, self.joined, self.given_up)
        return max(int(table["until_ms"].max()) for table in tables if len(table))

    def where(self, opened: Array, joined: Array, given_up: Array) -> Changes:
        """Those that masks choose."""
        features = self.features
        if len(features):
            features = features[np.repeat(opened, feature_counts(self.opened))]
        return Changes(
            self.opened[opened], features, self.joined[joined], self.given_up[given_up]
        )

    def since(self, until_ms: int) -> Changes:
        """Without those whose requests had closed before a time."""
        tables = (self.opened, self.joined, self.given_up)
        masks = [table["until_ms"] >= until_ms for table in tables]
        return self if all(mask.all() for mask in masks) else self.where(*masks)


def no_changes() -> Changes:
    """Nothing happened."""
    return together(())


def together(parts: Sequence[Changes]) -> Changes:
    """Several in one, in this order."""
    return Changes(
        _concatenated([part.opened for part in parts], OPENED),
        _concatenated([part.features for part in parts], "<f8"),
        _concatenated([part.joined for part in parts], JOINED),
        _concatenated([part.given_up for part in parts], GIVEN_UP),
    )


def feature_counts(opened: Array) -> Array:
    """How many features each of the opened has."""
    counts: Array = np.ascontiguousarray(opened["row"]).view(REQUEST_ROWS)["features"]
    return counts


def encode_changes(changes: Changes) -> bytes:
    """As bytes, column by column: alike stands beside alike, and compresses well."""
    sections = [changes.features.tobytes()]
    for table in (changes.opened, changes.joined, changes.given_up):
        if not len(table):
            sections.append(b"")
        for name, column in _columns(table) if len(table) else ():
            # Times and serial numbers differ little from one row to the next.
            is_even = name in ("until_ms", "serial", "after")
            sections.append((_steps(column) if is_even else column).tobytes())
    return join(sections)


def decode_changes(data: bytes) -> Changes:
    """The changes again; of bytes that are known to be changes."""
    features, *sections = split(data)
    rest = iter(sections)
    tables = [_table(dtype, rest) for dtype in _TABLES]
    return Changes(tables[0], np.frombuffer(features, "<f8"), tables[1], tables[2])


def _columns(table: Array) -> list[tuple[str, Array]]:
    columns = []
    for name in table.dtype.names or ():
        # Not made contiguous: it is copied when it becomes bytes, and once is enough.
        column = table[name]
        if name in _ROWS:
            parts = column.view(_ROWS[name])
            columns += [(f"{name}.{part}", parts[part]) for part in _ROWS[name].names or ()]
        else:
            columns.append((name, column))
    return columns


def _table(dtype: np.dtype[Any], sections: Iterator[bytes]) -> Array:
    first = next(sections)
    table = np.empty(len(first) // 8, dtype)
    for name in (dtype.names or ()) if first else ():
        if name in _ROWS:
            rows = np.empty(len(table), _ROWS[name])
            for part in rows.dtype.names or ():
                rows[part] = np.frombuffer(next(sections), rows.dtype[part])
            table[name] = rows.view(dtype[name])
        elif name == "key":
            table[name] = np.frombuffer(next(sections), "<u8").reshape(-1, 2)
        else:
            section = first if name == "until_ms" else next(sections)
            table[name] = np.cumsum(np.frombuffer(section, "<i8"))
    return table


def _steps(column: Array) -> Array:
    """The first value, then by how much each differs; `diff` with `prepend` takes four times as
    long for the few rows of a checkpoint."""
    values = np.ascontiguousarray(column)
    steps = values.copy()
    steps[1:] -= values[:-1]
    return steps


def _concatenated(parts: Sequence[Array], dtype: DTypeLike) -> Array:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)
