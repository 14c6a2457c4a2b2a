"""What many records share, known by its bytes: one look-up instead of decoding and guarding it.

A tail is what follows the last field of a record that differs from request to request. What the
cache answers is what decoding a record with these very bytes gave, so it never changes a result;
it is emptied when full.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from tidegate.schemas.catalogue import Schema
from tidegate.schemas.structure import compile_walk

Row = tuple[Any, ...]

_TAILS_MAX: Final = 16_384
_TAIL_BYTES_MAX: Final = 4_096
_PREFIX_SIZES_MAX: Final = 32


class Tails:
    """Shared columns by tail bytes.

    A tail may have two parts that vary independently of each other, as attributes and routing
    do: `prefix` names the fields of the first part, and the first of the shared columns comes
    from it. Then a tail that combines known parts is known. No encoding of the prefix begins with
    another one, so at most one known prefix fits.
    """

    def __init__(self, schema: Schema, prefix: Sequence[str] = ()) -> None:
        fields = [item for item in json.loads(schema.text)["fields"] if item["name"] in prefix]
        self._walk = (
            compile_walk({"type": "record", "name": "Prefix", "fields": fields}) if fields else None
        )
        self._rows: dict[bytes, Row] = {}
        self._prefixes: dict[bytes, Row] = {}
        self._rests: dict[bytes, Row] = {}
        self._sizes: list[int] = []
        self._interned: dict[Any, Any] = {}

    def rows(self, tails: Sequence[bytes], absent: Row) -> list[Row]:
        """Shared columns of each tail; `absent` itself where the tail is not known as a whole."""
        get = self._rows.get
        return [get(tail, absent) for tail in tails]

    def find(self, tail: bytes) -> Row | None:
        """Shared columns of a tail that is known, or whose parts are."""
        row = self._rows.get(tail)
        if row is None:
            for size in self._sizes:
                first, second = self._prefixes.get(tail[:size]), self._rests.get(tail[size:])
                if first is not None and second is not None:
                    return self._keep(tail, first + second)
        return row

    def learn(self, tail: bytes, shared: Row) -> Row:
        """Keep what decoding gave for a tail; gives the same back, as objects seen before."""
        if len(self._interned) >= _TAILS_MAX:
            self._interned.clear()
        known = tuple(self._interned.setdefault(item, item) for item in shared)
        if not 0 < len(tail) <= _TAIL_BYTES_MAX:
            return known
        if self._walk is not None:
            size = self._walk(tail, 0)
            if len(self._prefixes) >= _TAILS_MAX or len(self._sizes) >= _PREFIX_SIZES_MAX:
                self._prefixes.clear()
                self._sizes.clear()
            if len(self._rests) >= _TAILS_MAX:
                self._rests.clear()
            self._prefixes[tail[:size]], self._rests[tail[size:]] = known[:1], known[1:]
            if size not in self._sizes:
                self._sizes.append(size)
        return self._keep(tail, known)

    def _keep(self, tail: bytes, row: Row) -> Row:
        if len(self._rows) >= _TAILS_MAX:
            self._rows.clear()
        self._rows[tail] = row
        return row
