"""What a record, or a part of one, can do: become plain maps and lists, and come back from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Self


class Record:
    """What a record or a part of one can do.

    `PARTS` names the fields that hold a list of other records.
    """

    __slots__ = ()

    PARTS: ClassVar[Mapping[str, type[Record]]] = {}

    def to_dict(self) -> dict[str, Any]:
        """The record as plain maps and lists, in schema order."""
        kind: Any = type(self)
        names, take = _fields_of(kind)
        values = dict(zip(names, take(self), strict=True))
        for name in self.PARTS:
            if values[name] is not None:
                values[name] = [part.to_dict() for part in values[name]]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The record of decoded Avro: lists become tuples, parts become records."""
        given = dict(values)
        for name, value in given.items():
            if isinstance(value, list):
                part = cls.PARTS.get(name)
                given[name] = tuple(value if part is None else map(part.from_dict, value))
        return cls(**given)


@cache
def _fields_of(kind: Any) -> tuple[tuple[str, ...], attrgetter[Any]]:
    names = tuple(item.name for item in fields(kind))
    return names, attrgetter(*names)
