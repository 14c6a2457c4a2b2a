"""Rows of an open batch, and their way into the columns of an observation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas.context import Attributes, Context
from tidegate.schemas.facts import NONE, Table, columns_to_table
from tidegate.streams.joining.contexts import Interned, Interner
from tidegate.streams.joining.layout import (
    CLOSED_SHADOW_ROWS,
    DOUBLES_ROWS,
    IRREGULAR_ROWS,
    MATCHED_ROWS,
    METRIC_ROWS,
    REQUEST_ROWS,
    SHADOW_ROWS,
)

Array = NDArray[Any]

_STATUS = np.dtype(np.uint8)
_WEIGHT = np.dtype(np.float32)
_VALUE_ROWS = np.dtype([("value", "<f8")])
_NO_NUMBERS: Array = np.empty(0, dtype=np.uint32)
_NO_ATTRIBUTES = np.zeros(1, dtype=np.uint32)
"""Attribute set 0 is the empty one; every batch has it."""


@dataclass(slots=True)
class Rows:
    """Facts of a batch, one packed row each, as in `layout`.

    `*_doubles` say which of the `*_values` belong to which row. Rows refer to what is interned by
    its number, which means nothing outside this worker's state.
    """

    exposures: list[bytes] = field(default_factory=list)
    shadows: list[bytes] = field(default_factory=list)
    matched: list[bytes] = field(default_factory=list)
    closed: list[bytes] = field(default_factory=list)
    summaries: list[bytes] = field(default_factory=list)
    irregular: list[bytes] = field(default_factory=list)
    closed_shadows: list[bytes] = field(default_factory=list)
    exposure_doubles: list[bytes] = field(default_factory=list)
    measure_doubles: list[bytes] = field(default_factory=list)
    closed_doubles: list[bytes] = field(default_factory=list)
    exposure_values: list[bytes] = field(default_factory=list)
    measure_values: list[bytes] = field(default_factory=list)
    closed_values: list[bytes] = field(default_factory=list)

    def dump(self) -> list[bytes]:
        """One block per list, in the order of the fields."""
        return [b"".join(getattr(self, name)) for name in _LISTS]

    @classmethod
    def load(cls, blocks: Sequence[bytes]) -> Rows:
        """Become what `dump` told; values, which nobody counts, stay in one piece."""
        rows = [_pieces(block, row) for block, row in zip(blocks, _ROWS, strict=False)]
        return cls(*rows, *([block] for block in blocks[len(_ROWS) :]))

    def facts(self) -> int:
        """How many facts these are."""
        lists = (self.exposures, self.shadows, self.matched, self.closed, self.irregular)
        return sum(map(len, lists))

    def records(self, name: str, row: np.dtype[np.void]) -> Array:
        """The rows of a list as numpy records."""
        return np.frombuffer(b"".join(getattr(self, name)), dtype=row)


_LISTS = tuple(item.name for item in fields(Rows))
_ROWS = (
    REQUEST_ROWS, SHADOW_ROWS, MATCHED_ROWS, REQUEST_ROWS, METRIC_ROWS, IRREGULAR_ROWS,
    CLOSED_SHADOW_ROWS, DOUBLES_ROWS, DOUBLES_ROWS, DOUBLES_ROWS,
)  # fmt: skip


def _pieces(block: bytes, row: np.dtype[np.void]) -> list[bytes]:
    return [block[start : start + row.itemsize] for start in range(0, len(block), row.itemsize)]


class Indexes:
    """Numbers of an interner that a batch uses -> indexes in the batch's own list.

    By direct look-up: numbers are small, an interner gives out the smallest that is free.
    """

    def __init__(self, interner: Interner[Any], columns: Iterable[Array]) -> None:
        self.numbers: Array = _NO_NUMBERS
        self.values: list[Any] = []
        self._indexes: Array = _NO_NUMBERS
        given = [column for column in columns if len(column)]
        if given:
            used = np.zeros(len(interner.items), dtype=np.bool_)
            for column in given:
                used[column] = True
            self.numbers = used.nonzero()[0]
            self.values = [interner.items[number] for number in self.numbers.tolist()]

    def are(self, indexes: Sequence[int]) -> None:
        """Say which index each number has, ascending by number."""
        if self.values:
            self._indexes = self.spread(indexes, np.dtype(np.uint32))

    def of(self, column: Array) -> Array:
        """A column of numbers as a column of indexes."""
        found: Array = self._indexes[column]
        return found

    def told(self, values: Sequence[float], dtype: np.dtype[Any], column: Array) -> Array:
        """For a column of numbers what `values` has ascending by number; often all the same."""
        if len(set(values)) == 1:
            return np.full(len(column), values[0], dtype)
        found: Array = self.spread(values, dtype)[column]
        return found

    def spread(self, values: Sequence[float], dtype: np.dtype[Any]) -> Array:
        """By number what `values` has ascending by number; nothing is meant at other numbers."""
        size = int(self.numbers[-1]) + 1 if len(self.numbers) else 0
        found = np.empty(size, dtype=dtype)
        found[self.numbers] = values
        return found


def _given(column: Array) -> Array:
    """The numbers in a column that may hold `NONE`."""
    given: Array = column[column != NONE]
    return given


def _of_given(indexes: Indexes, column: Array) -> Array:
    """As `Indexes.of`, of a column that may hold `NONE`, which stays."""
    mapped = np.full(len(column), NONE, dtype=np.uint32)
    known = column != NONE
    mapped[known] = indexes.of(column[known])
    return mapped


@dataclass(slots=True)
class Shared:
    """What the facts of a batch share, as the record lists it, and the facts themselves."""

    contexts: list[Context]
    attributes: list[Attributes]
    names: list[str]
    tables: dict[str, Table]


class _Converter:
    """Interned numbers of one batch become indexes into its contexts, attributes and names."""

    def __init__(self, rows: Rows, interned: Interned) -> None:
        self.exposures = rows.records("exposures", REQUEST_ROWS)
        self.closed = rows.records("closed", REQUEST_ROWS)
        self.shadows = rows.records("shadows", SHADOW_ROWS)
        self.matched = rows.records("matched", MATCHED_ROWS)
        self.summaries = rows.records("summaries", METRIC_ROWS)
        self.irregular = rows.records("irregular", IRREGULAR_ROWS)
        self.closed_shadows = rows.records("closed_shadows", CLOSED_SHADOW_ROWS)
        self.doubles = {
            kind: (
                rows.records(f"{source}_doubles", DOUBLES_ROWS),
                rows.records(f"{source}_values", _VALUE_ROWS)["value"],
            )
            for kind, source in (
                ("exposure_feature", "exposure"), ("closed_feature", "closed"),
                ("measure", "measure"),
            )
            if getattr(rows, f"{source}_doubles")
        }  # fmt: skip
        self._index_contexts(interned)
        self._index_attributes(interned)
        self._index_names(interned)

    def _index_contexts(self, interned: Interned) -> None:
        whole = (self.exposures, self.closed, self.shadows, self.matched)
        self.tails = Indexes(
            interned.tails, [*(rows["tail"] for rows in whole), _given(self.irregular["tail"])]
        )
        self.shadow_tails = Indexes(
            interned.shadow_tails,
            [self.shadows["shadow_tail"], self.closed_shadows["shadow_tail"]],
        )
        places: dict[Context, int] = {}
        for indexes in (self.tails, self.shadow_tails):
            indexes.are([places.setdefault(item.context, len(places)) for item in indexes.values])
        self.contexts = list(places)

    def _index_attributes(self, interned: Interned) -> None:
        columns = [self.exposures["attributes"], self.closed["attributes"], _NO_ATTRIBUTES]
        self.attributes = Indexes(interned.attributes, columns)
        self.attributes.are(range(len(self.attributes.values)))

    def _index_names(self, interned: Interned) -> None:
        self.name_numbers = Indexes(interned.names, [
            self.matched["metric"], _given(self.matched["source"]), self.summaries["metric"],
            _given(self.irregular["metric"]),
        ])  # fmt: skip
        places = {name: place for place, name in enumerate(self.name_numbers.values)}
        self.name_numbers.are(range(len(places)))
        layouts = Indexes(interned.layouts, [refs["layout"] for refs, _ in self.doubles.values()])
        self.layout_names = {
            number: [places.setdefault(name, len(places)) for name in layout]
            for number, layout in zip(layouts.numbers.tolist(), layouts.values, strict=True)
        }
        self.names = list(places)

    def tables(self) -> dict[str, Table]:
        """Columns of every kind that has facts."""
        made: dict[str, dict[str, Array]] = {}
        if len(self.exposures):
            made["exposure"] = self._requests(self.exposures)
        if len(self.closed):
            made["closed"] = self._requests(self.closed)
        if len(self.shadows):
            made["shadow"] = self._shadow_columns()
        if len(self.matched):
            made["matched"] = {
                **_columns(self.matched, "request", "value", "occurred_at"),
                "context": self.tails.of(self.matched["tail"]),
                "metric": self.name_numbers.of(self.matched["metric"]),
                "source": _of_given(self.name_numbers, self.matched["source"]),
            }
        if len(self.summaries):
            made["closed_metric"] = {
                **_columns(self.summaries, "row", "count", "first", "last", "sum", "min", "max"),
                "metric": self.name_numbers.of(self.summaries["metric"]),
            }
        if len(self.closed_shadows):
            rows = self.closed_shadows
            made["closed_shadow"] = {
                **_columns(rows, "row", "shadow_score"),
                "shadow_context": self.shadow_tails.of(rows["shadow_tail"]),
                "score": self.closed["score"][rows["row"]],
            }
        if len(self.irregular):
            made["irregular"] = {
                **_columns(self.irregular, "class", "stream", "request", "value"),
                "context": _of_given(self.tails, self.irregular["tail"]),
                "metric": _of_given(self.name_numbers, self.irregular["metric"]),
            }
        for kind in self.doubles:
            made[kind] = self._double_columns(kind, "name" if kind == "measure" else "feature")
        return {kind: columns_to_table(kind, columns) for kind, columns in made.items()}

    def _requests(self, rows: Array) -> dict[str, Array]:
        tails, shared = rows["tail"], self.tails
        return {
            **_columns(rows, "request", "unit", "served_at", "propensity", "score", "latency"),
            "context": shared.of(tails),
            "attributes": self.attributes.of(rows["attributes"]),
            "status": shared.told([tail.status for tail in shared.values], _STATUS, tails),
            "weight": shared.told([tail.weight for tail in shared.values], _WEIGHT, tails),
        }

    def _shadow_columns(self) -> dict[str, Array]:
        rows, tails, shadow_tails = self.shadows, self.tails, self.shadow_tails
        names = ("request", "score", "shadow_score", "agree", "latency", "shadow_latency")
        statuses = [tail.status for tail in tails.values]
        shadow_statuses = [tail.status for tail in shadow_tails.values]
        return {
            **_columns(rows, *names),
            "context": tails.of(rows["tail"]),
            "shadow_context": shadow_tails.of(rows["shadow_tail"]),
            "status": tails.told(statuses, _STATUS, rows["tail"]),
            "shadow_status": shadow_tails.told(shadow_statuses, _STATUS, rows["shadow_tail"]),
        }

    def _double_columns(self, kind: str, name: str) -> dict[str, Array]:
        refs, values = self.doubles[kind]
        names = [place for layout in refs["layout"].tolist() for place in self.layout_names[layout]]
        return {
            "row": np.repeat(refs["row"], refs["count"]),
            name: np.array(names, dtype=np.uint32),
            "value": values,
        }


def shared_and_tables(rows: Rows, interned: Interned) -> Shared:
    """Contexts, attribute sets, names and tables of the rows of one batch."""
    if not rows.facts():
        return Shared([], [()], [], {})
    made = _Converter(rows, interned)
    return Shared(made.contexts, made.attributes.values, made.names, made.tables())


def _columns(rows: Array, *names: str) -> dict[str, Array]:
    return {name: rows[name] for name in names}
