"""What requests have learned, as tables: opened, joined to, given up; and their way to bytes.

A table of changes is what a checkpoint writes of requests. Serial numbers say in which order things
happened: requests are numbered as they open, outcomes and shadows as they are joined.
"""

from __future__ import annotations

import itertools
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

_NESTED: Final = {"row": REQUEST_ROWS, "entry": ENTRIES}
_STEPPED: Final = ("until_ms", "serial", "after")
"""Times and serial numbers differ little from one row to the next."""
_SMALL: Final = ("row.tail", "row.attributes", "row.label", "row.layout", "entry.metric")
"""Numbers given in turn, and marks at the end of their range: either are small as `<i4`."""


def _columns(table: np.dtype[Any]) -> np.dtype[Any]:
    """The same bytes with the parts of nested rows as columns of their own: `row.served_at`."""
    columns = list[tuple[str, np.dtype[Any]]]()
    for name in table.names or ():
        parts = _NESTED.get(name)
        if parts is None:
            columns.append((name, table[name]))
        else:
            columns += [(f"{name}.{part}", parts[part]) for part in parts.names or ()]
    return np.dtype(columns)


_OPENED_COLUMNS: Final = _columns(OPENED)
_JOINED_COLUMNS: Final = _columns(JOINED)
_GIVEN_UP_COLUMNS: Final = _columns(GIVEN_UP)


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
    return join([
        _octets(changes.features),
        *_sections(changes.opened.view(_OPENED_COLUMNS)),
        *_sections(changes.joined.view(_JOINED_COLUMNS)),
        *_sections(changes.given_up.view(_GIVEN_UP_COLUMNS)),
    ])  # fmt: skip


def decode_changes(data: bytes) -> Changes:
    """The changes again; of bytes that are known to be changes."""
    features, *rest = split(data)
    sections = iter(rest)
    return Changes(
        _table(_OPENED_COLUMNS, sections).view(OPENED),
        np.frombuffer(features, "<f8"),
        _table(_JOINED_COLUMNS, sections).view(JOINED),
        _table(_GIVEN_UP_COLUMNS, sections).view(GIVEN_UP),
    )


def _sections(table: Array) -> Iterator[bytes | memoryview]:
    """A section for each column; a single empty one for a table without rows."""
    if not len(table):
        yield b""
        return
    for name in table.dtype.names or ():
        # Not made contiguous: it is copied when it becomes bytes, and once is enough.
        column = table[name]
        if name in _STEPPED:
            yield b"".join((column[:1].tobytes(), _narrow(column[1:] - column[:-1])))
        else:
            yield _narrow(column.view("<i4")) if name in _SMALL else column.tobytes()


def _table(columns: np.dtype[Any], sections: Iterator[bytes]) -> Array:
    first, names = next(sections), columns.names or ()
    if not first:
        return np.empty(0, columns)
    contents = [first, *itertools.islice(sections, len(names) - 1)]
    # Of the last column every value takes what it takes in a row.
    table = np.empty(len(contents[-1]) // columns[-1].itemsize, columns)
    for name, content in zip(names, contents, strict=True):
        column = table[name]
        if name in _STEPPED:
            column[0] = np.frombuffer(content[:8], "<i8")[0]
            column[1:] = _widened(content[8:], len(table) - 1)
            np.cumsum(column, out=column)
        elif name in _SMALL:
            column.view("<i4")[:] = _widened(content, len(table))
        else:
            column[:] = np.frombuffer(content, column.dtype).reshape(column.shape)
    return table


def _octets(values: Array) -> memoryview:
    """What an array consists of, without a copy; it must be contiguous."""
    return values.view(np.uint8).data


def _narrow(values: Array) -> memoryview:
    """Integers in as few bytes each as hold all of them."""
    values = np.ascontiguousarray(values)
    least = int(np.minimum.reduce(values, initial=0))
    most = int(np.maximum.reduce(values, initial=0))
    width = next(it for it in (1, 2, 4, 8) if -(256**it) <= 2 * least and 2 * most < 256**it)
    return _octets(values.astype(f"<i{width}"))


def _widened(content: bytes, count: int) -> Array:
    """So many integers again; their width is seen by what they take."""
    return np.frombuffer(content, f"<i{len(content) // count}" if count else "<i8")


def _concatenated(parts: Sequence[Array], dtype: DTypeLike) -> Array:
    filled = [part for part in parts if len(part)]
    if len(filled) == 1:
        return filled[0]
    return np.concatenate(filled) if filled else np.empty(0, dtype)
