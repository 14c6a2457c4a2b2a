"""Rows of an open batch, and their way into the columns of an observation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas.context import Attributes, Context
from tidegate.schemas.decoding.columns import PredictionTail, ShadowTail
from tidegate.schemas.facts import NONE, Table, columns_to_table
from tidegate.streams.joining.contexts import Interned, Interner
from tidegate.streams.joining.layout import (
    DOUBLES_ROWS,
    IRREGULAR_ROWS,
    MATCHED_ROWS,
    METRIC_ROWS,
    REQUEST_ROWS,
    SHADOW_ROWS,
)

Array = NDArray[Any]


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
    exposure_doubles: list[bytes] = field(default_factory=list)
    measure_doubles: list[bytes] = field(default_factory=list)
    closed_doubles: list[bytes] = field(default_factory=list)
    exposure_values: list[bytes] = field(default_factory=list)
    measure_values: list[bytes] = field(default_factory=list)
    closed_values: list[bytes] = field(default_factory=list)

    def dump(self) -> list[bytes]:
        """One block per list, in the order of the fields."""
        return [b"".join(getattr(self, item.name)) for item in fields(self)]

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


_ROWS = (
    REQUEST_ROWS, SHADOW_ROWS, MATCHED_ROWS, REQUEST_ROWS, METRIC_ROWS, IRREGULAR_ROWS,
    DOUBLES_ROWS, DOUBLES_ROWS, DOUBLES_ROWS,
)  # fmt: skip


def _pieces(block: bytes, row: np.dtype[np.void]) -> list[bytes]:
    return [block[start : start + row.itemsize] for start in range(0, len(block), row.itemsize)]


class Indexes:
    """Numbers of an interner that a batch uses -> indexes in the batch's own list."""

    def __init__(self, columns: Iterable[Array]) -> None:
        found = np.unique(np.concatenate(list(columns)))
        self.numbers: Array = found[found != NONE]
        self._indexes: Array = np.zeros(0, dtype=np.uint32)

    def values(self, interner: Interner[Any]) -> list[Any]:
        """The values behind the numbers, ascending by number."""
        return [interner.items[number] for number in self.numbers.tolist()]

    def are(self, indexes: Sequence[float], dtype: Any = np.uint32) -> None:
        """Say which index each number has, ascending by number."""
        self._indexes = np.array(indexes, dtype=dtype)

    def of(self, column: Array) -> Array:
        """A column of numbers as a column of indexes; `NONE` stays."""
        mapped = np.full(len(column), NONE, dtype=np.uint32)
        known = column != NONE
        mapped[known] = self._indexes[np.searchsorted(self.numbers, column[known])]
        return mapped

    def pick(self, column: Array, values: Sequence[float]) -> Array:
        """For each number of a column its value in `values`, which ascend by number."""
        return np.array(values)[np.searchsorted(self.numbers, column)]


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
        self.doubles = {
            kind: (
                rows.records(f"{source}_doubles", DOUBLES_ROWS),
                rows.records(f"{source}_values", np.dtype([("value", "<f8")]))["value"],
            )
            for kind, source in (
                ("exposure_feature", "exposure"), ("closed_feature", "closed"),
                ("measure", "measure"),
            )
        }  # fmt: skip
        self._index_contexts(interned)
        self._index_attributes(interned)
        self._index_names(interned)

    def _index_contexts(self, interned: Interned) -> None:
        self.tails = Indexes(
            table["tail"]
            for table in (self.exposures, self.closed, self.shadows, self.matched, self.irregular)
        )
        self.shadow_tails = Indexes([self.shadows["shadow_tail"]])
        self.tail_values: list[PredictionTail] = self.tails.values(interned.tails)
        self.shadow_values: list[ShadowTail] = self.shadow_tails.values(interned.shadow_tails)
        places: dict[Context, int] = {}
        for indexes, values in (
            (self.tails, self.tail_values), (self.shadow_tails, self.shadow_values),
        ):  # fmt: skip
            indexes.are([places.setdefault(item.context, len(places)) for item in values])
        self.contexts = list(places)

    def _index_attributes(self, interned: Interned) -> None:
        self.attributes = Indexes([
            self.exposures["attributes"], self.closed["attributes"], np.zeros(1, np.uint32),
        ])  # fmt: skip
        self.attribute_sets: list[Attributes] = self.attributes.values(interned.attributes)
        self.attributes.are(range(len(self.attribute_sets)))

    def _index_names(self, interned: Interned) -> None:
        self.name_numbers = Indexes([
            self.matched["metric"], self.matched["source"], self.summaries["metric"],
            self.irregular["metric"],
        ])  # fmt: skip
        self.layouts = Indexes(refs["layout"] for refs, _ in self.doubles.values())
        places: dict[str, int] = {}
        self.name_numbers.are(
            [
                places.setdefault(name, len(places))
                for name in self.name_numbers.values(interned.names)
            ]
        )
        self.layout_names = {
            number: [places.setdefault(name, len(places)) for name in layout]
            for number, layout in zip(
                self.layouts.numbers.tolist(), self.layouts.values(interned.layouts), strict=True
            )
        }
        self.names = list(places)

    def tables(self) -> dict[str, Table]:
        """Columns of every kind that has facts."""
        columns = {
            "exposure": self._requests(self.exposures),
            "closed": self._requests(self.closed),
            "shadow": self._shadow_columns(),
            "matched": {
                **_columns(self.matched, "request", "value", "occurred_at"),
                "context": self.tails.of(self.matched["tail"]),
                "metric": self.name_numbers.of(self.matched["metric"]),
                "source": self.name_numbers.of(self.matched["source"]),
            },
            "closed_metric": {
                **_columns(self.summaries, "row", "count", "first", "last", "sum", "min", "max"),
                "metric": self.name_numbers.of(self.summaries["metric"]),
            },
            "irregular": {
                **_columns(self.irregular, "class", "stream", "request", "value"),
                "context": self.tails.of(self.irregular["tail"]),
                "metric": self.name_numbers.of(self.irregular["metric"]),
            },
            "exposure_feature": self._double_columns("exposure_feature", "feature"),
            "closed_feature": self._double_columns("closed_feature", "feature"),
            "measure": self._double_columns("measure", "name"),
        }
        return {
            kind: columns_to_table(kind, found)
            for kind, found in columns.items()
            if len(next(iter(found.values())))
        }

    def _requests(self, rows: Array) -> dict[str, Array]:
        return {
            **_columns(rows, "request", "unit", "served_at", "propensity", "score", "latency"),
            "context": self.tails.of(rows["tail"]),
            "attributes": self.attributes.of(rows["attributes"]),
            "status": self.tails.pick(rows["tail"], [tail.status for tail in self.tail_values]),
            "weight": self.tails.pick(rows["tail"], [tail.weight for tail in self.tail_values]),
        }

    def _shadow_columns(self) -> dict[str, Array]:
        rows = self.shadows
        names = ("request", "score", "shadow_score", "agree", "latency", "shadow_latency")
        statuses = [tail.status for tail in self.tail_values]
        shadow_statuses = [tail.status for tail in self.shadow_values]
        return {
            **_columns(rows, *names),
            "context": self.tails.of(rows["tail"]),
            "shadow_context": self.shadow_tails.of(rows["shadow_tail"]),
            "status": self.tails.pick(rows["tail"], statuses),
            "shadow_status": self.shadow_tails.pick(rows["shadow_tail"], shadow_statuses),
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
    converter = _Converter(rows, interned)
    return Shared(converter.contexts, converter.attribute_sets, converter.names, converter.tables())


def _columns(rows: Array, *names: str) -> dict[str, Array]:
    return {name: rows[name] for name in names}
