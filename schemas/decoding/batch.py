"""The frame of the three decoders: the whole run at once, then what is unusual one by one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tidegate.schemas import catalogue, codec
from tidegate.schemas.decoding.columns import Fault
from tidegate.schemas.decoding.cursor import Cursor
from tidegate.schemas.decoding.tails import Row, Tails
from tidegate.schemas.errors import EventError, UnknownSchemaId

Lists = tuple[list[Any], ...]
"""`index`, the columns, and the faults, as the fields of a columns class."""

_AHEAD_MAX: Final = 2_048


class _Ahead(NamedTuple):
    """values[start:stop] decoded; the values must not change while they are held."""

    values: Sequence[bytes | None]
    start: int
    stop: int
    lists: Lists


class BatchDecoder:
    """Reads the values of one topic; a cache of shared tails and the last fetch is all it holds.

    Nothing in there changes a result: what it answers is what decoding gave for the same bytes,
    and it is bounded. So decoders may be shared, copied and thrown away.
    """

    def __init__(
        self,
        name: str,
        shared: int,
        row: Callable[[Mapping[str, Any]], Row],
        bindings: codec.Bindings | None,
        prefix: Sequence[str] = (),
    ) -> None:
        """`row` guards a decoded record of schema `name` and gives its columns.

        `shared` of them, the last ones, come from the tail bytes; `prefix` is as in `Tails`.
        `bindings` are as `codec.Bindings` tells.
        """
        self._name = name
        self._row = row
        self._bindings = bindings
        self._newest = catalogue.latest(name)
        self._absent: Row = (None,) * shared
        self._tails = Tails(self._newest, prefix)
        self._ahead: _Ahead | None = None

    def _read(self, values: Sequence[bytes | None], start: int, stop: int) -> Lists:
        """`index`, the columns and the faults of values[start:stop].

        Depends on each value alone: however a run is split, the results are the same. A fetch
        holds several runs; it is decoded some way ahead and cut, because many records together
        cost less than few.

        Raises:
            UnknownSchemaId: a record's Confluent schema id is not bound yet; nothing is decoded.
        """
        ahead = self._ahead
        if ahead is None or ahead.values is not values or start < ahead.start or stop > ahead.stop:
            ahead = self._look_ahead(values, start, stop)
        if (start, stop) == (ahead.start, ahead.stop):
            return ahead.lists
        index, *columns, faults = ahead.lists
        first, last = bisect_left(index, start), bisect_left(index, stop)
        return (
            index[first:last],
            *(column[first:last] for column in columns),
            [fault for fault in faults if start <= fault[0] < stop],
        )

    def _look_ahead(self, values: Sequence[bytes | None], start: int, stop: int) -> _Ahead:
        end = max(stop, min(len(values), start + _AHEAD_MAX))
        try:
            lists = self._decode(values, start, end)
        except UnknownSchemaId:
            # It may stand behind the run that was asked for.
            return _Ahead(values, start, stop, self._decode(values, start, stop))
        self._ahead = _Ahead(values, start, end, lists)
        return self._ahead

    def _decode(self, values: Sequence[bytes | None], start: int, stop: int) -> Lists:
        chunk = values[start:stop]
        columns, tails, unusual = self._read_together(chunk)
        faults: list[Fault] = []
        for number in unusual:
            tail = tails[number]
            try:
                row = self._tails.find(tail) or self._read_one(chunk[number], tail)
            except EventError as error:
                faults.append((start + number, error.reason, error.detail))
                continue
            for column, item in zip(columns[-len(row):], row, strict=True):
                column[number] = item
        index = list(range(start, stop))
        for position, _, _ in reversed(faults):
            for column in (index, *columns):
                del column[position - start]
        return index, *columns, faults

    def _fields(self, cursor: Cursor) -> tuple[list[Any], ...]:
        """Columns of the fields before the tail; what stands in unsound rows is not looked at."""
        raise NotImplementedError

    def _read_together(
        self, chunk: Sequence[bytes | None]
    ) -> tuple[tuple[list[Any], ...], list[bytes], list[int]]:
        """Columns, tails, and the numbers of records that are not, or not fully, read yet.

        The tail is empty where the fields before it were not understood.
        """
        cursor = Cursor([value or b"" for value in chunk], self._head(chunk))
        columns = self._fields(cursor)
        tails = cursor.tails()
        absent = self._absent
        known = self._tails.rows(tails, absent)
        shared = tuple([row[place] for row in known] for place in range(len(absent)))
        unusual = [number for number, row in enumerate(known) if row is absent]
        return (*columns, *shared), tails, unusual

    def _head(self, chunk: Sequence[bytes | None]) -> bytes:
        """What values written with the newest schema begin with, in the framing of the first."""
        first = next((value for value in chunk if value), b"")
        for schema_id, fingerprint in (self._bindings or {}).items():
            head = codec.confluent_head(schema_id)
            if fingerprint == self._newest.fingerprint and first.startswith(head):
                return head
        return self._newest.head

    def _read_one(self, value: bytes | None, tail: bytes) -> Row:
        row = self._row(codec.decode_record(self._name, value, self._bindings))
        shared = len(self._absent)
        return row[:-shared] + self._tails.learn(tail, row[-shared:])
