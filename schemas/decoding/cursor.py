"""Avro read for many records at once: every step moves all positions one field on.

A record that holds anything unusual is marked in `sound` and left to the record-by-record path;
what a cursor returns for it means nothing. Positions only grow, and each step by a bounded
number of bytes, so one comparison at the end (`tails`) finds every record that ran out of
bytes; until then the padding behind the last record keeps reads inside the buffer.

Format: Apache Avro 1.12 specification, "Binary Encoding": zig-zag base-128 numbers, strings as
length and UTF-8, unions as branch number and value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas import limits
from tidegate.schemas.decoding.columns import Doubles
from tidegate.schemas.decoding.layouts import MapLayout, learn_layout

Longs = NDArray[np.int64]
_PADDING: Final = bytes(2_048)
_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_PAYLOAD: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
_ONE: Final = np.uint64(1)
_LAYOUTS_KEPT_MAX: Final = 32
_LAYOUTS_LEARNT_MAX: Final = 8
"""Per field and run: a run with more different maps than that is no case for layouts."""


class Cursor:
    """Positions in `values`, all at the same field; `head` is what each value must begin with."""

    def __init__(self, values: Sequence[bytes], head: bytes) -> None:
        self.data = b"".join(values) + _PADDING
        size = len(self.data) - 7
        self._octets = np.frombuffer(self.data, dtype=np.uint8)
        self._words: NDArray[np.uint64] = np.ndarray(size, "<u8", self.data, strides=(1,))
        self._doubles: NDArray[np.float64] = np.ndarray(size, "<f8", self.data, strides=(1,))
        sizes = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
        self._ends: Longs = np.cumsum(sizes)
        self._at: Longs = self._ends - sizes
        self.sound = sizes <= limits.RECORD_BYTES_MAX
        heads = self._windows(len(head))[self._at]
        self.sound &= heads == np.void(head)
        self._at += len(head)

    def long(self) -> Longs:
        """The next field, a `long` of at most 8 bytes."""
        words = self._words[self._at]
        stops = ~words & _HIGH_BITS
        self.sound &= stops != 0
        # From here the lowest stop bit ends the number: keep what is below, drop bit 7 of each
        # byte, and push the 7-bit groups together, pairwise, as in Knuth's parallel suffix.
        covered = stops ^ (stops - _ONE)
        bits = words & covered & _PAYLOAD
        for low, high, shift in _GROUPS:
            bits = (bits & low) | ((bits & high) >> shift)
        self._at += (np.bitwise_count(covered) >> 3).astype(np.int64)
        signs = (bits & _ONE).astype(np.int64)
        return (bits >> _ONE).astype(np.int64) ^ -signs

    def time(self) -> Longs:
        """The next field, ms since 1970 within `limits.TIME_MS_MAX`."""
        found = self.long()
        self.sound &= (found >= 0) & (found <= limits.TIME_MS_MAX)
        return found

    def double(self, low: float, high: float) -> NDArray[np.float64]:
        """The next field, a double within [low, high]; NaN is not."""
        found = self._doubles[self._at]
        self.sound &= (found >= low) & (found <= high)
        self._at += 8
        return found

    def name(self) -> list[bytes]:
        """The next field, an id or name of 1 to 255 bytes of UTF-8."""
        starts, sizes = self._span()
        self.sound &= sizes > 0
        return self._texts(starts, sizes, np.arange(len(sizes)))

    def optional_double(self, low: float, high: float) -> NDArray[np.float64]:
        """The next field, null or a double within [low, high]; NaN where it is null."""
        present = self._present()
        found = self._doubles[self._at]
        self.sound &= ~present | ((found >= low) & (found <= high))
        self._at += present * 8
        return np.where(present, found, np.nan)

    def optional_text(self) -> list[bytes | None]:
        """The next field, null or a string of at most 255 bytes of UTF-8."""
        present = self._present()
        if not present.any():
            return [None] * len(present)
        starts, sizes = self._span(present)
        rows = np.flatnonzero(present)
        texts = self._texts(starts[rows], sizes[rows], rows)
        found: list[bytes | None] = [None] * len(present)
        for row, text in zip(rows.tolist(), texts, strict=True):
            found[row] = text
        return found

    def optional_doubles(
        self, layouts: list[MapLayout], names_max: int
    ) -> list[Doubles | None]:
        """The next field, null or a map of doubles in a layout that is known or can be learnt."""
        present = self._present()
        found: list[Doubles | None] = [None] * len(present)
        left = np.flatnonzero(present & self.sound)
        if len(layouts) > _LAYOUTS_KEPT_MAX:
            layouts.clear()
        for layout in layouts:
            if not left.size:
                return found
            left = self._match(layout, left, found)
        for _ in range(_LAYOUTS_LEARNT_MAX):
            if not left.size:
                return found
            first = int(left[0])
            learnt = learn_layout(
                self.data, int(self._at[first]), int(self._ends[first]), names_max
            )
            if learnt is None:
                self.sound[first] = False
                left = left[1:]
            else:
                layouts.append(learnt)
                left = self._match(learnt, left, found)
        self.sound[left] = False
        return found

    def tails(self) -> list[bytes]:
        """What is left of each record: nothing for those that are not sound."""
        self.sound &= self._at < self._ends
        return self._cut(self._at, np.where(self.sound, self._ends - self._at, 0))

    def _match(
        self,
        layout: MapLayout,
        rows: Longs,
        found: list[Doubles | None],
    ) -> Longs:
        """Reads the maps of `rows` that have this layout; returns the rows that have not."""
        if layout.size > len(self.data):
            return rows
        starts = self._at[rows]
        inside = starts + layout.size <= self._ends[rows]
        starts = np.where(inside, starts, 0)
        windows = self._windows(layout.size)
        blocks = windows[starts].view(np.uint8).reshape(len(rows), layout.size)
        same: NDArray[np.bool_] = inside & ~((blocks ^ layout.pattern) & layout.mask).any(axis=1)
        if same.any():
            matched, values = rows[same], layout.values(blocks[same])
            self.sound[matched] &= (np.abs(values) <= limits.VALUE_MAX).all(axis=1)
            self._at[matched] += layout.size
            packed, width, names = values.tobytes(), 8 * len(layout.names), layout.names
            if names:
                for number, row in enumerate(matched.tolist()):
                    found[row] = (names, packed[number * width:(number + 1) * width])
        return rows[~same]

    def _present(self) -> NDArray[np.bool_]:
        """Reads the branch of a union [null, X]: whether it is X."""
        branches = self._octets[self._at]
        present: NDArray[np.bool_] = branches == 2
        self.sound &= present | (branches == 0)
        self._at += 1
        return present

    def _span(self, present: NDArray[np.bool_] | None = None) -> tuple[Longs, Longs]:
        """Start and size of the next field, a string; nothing where it is not `present`."""
        firsts = self._octets[self._at]
        if present is not None:
            firsts = firsts * present
        if not (firsts & 0x81).any():
            sizes = (firsts >> 1).astype(np.int64)
            self._at += 1 if present is None else present
        else:
            before = self._at.copy()
            sizes = self.long()
            within = (sizes >= 0) & (sizes <= limits.NAME_BYTES_MAX)
            if present is not None:
                self._at = np.where(present, self._at, before)
                sizes = sizes * present
                within |= ~present
            self.sound &= within
            sizes = np.where(within, sizes, 0)
        starts = self._at
        self._at = starts + sizes
        return starts, sizes

    def _texts(self, starts: Longs, sizes: Longs, rows: Longs) -> list[bytes]:
        texts = self._cut(starts, sizes)
        if not b"".join(texts).isascii():
            for row, text in zip(rows.tolist(), texts, strict=True):
                if not _is_utf8(text):
                    self.sound[row] = False
        return texts

    def _cut(self, starts: Longs, sizes: Longs) -> list[bytes]:
        """data[start:start + size] of each; all at once when the sizes are equal."""
        texts: list[bytes]
        size = int(sizes[0]) if len(sizes) else 0
        if size and (sizes == size).all():
            texts = self._windows(size)[starts].tolist()
        else:
            data = self.data
            spans = zip(starts.tolist(), (starts + sizes).tolist(), strict=True)
            texts = [data[start:end] for start, end in spans]
        return texts

    def _windows(self, size: int) -> NDArray[np.void]:
        """All pieces of `size` bytes of the data, by where they start."""
        return np.ndarray(len(self.data) - size + 1, f"V{size}", self.data, strides=(1,))


def first_words(digests: Sequence[bytes]) -> list[int]:
    """First 8 bytes, little endian, of each 16-byte digest.

    >>> first_words([bytes([7] + 15 * [0])])
    [7]
    """
    words: list[int] = np.frombuffer(b"".join(digests), dtype="<u8")[::2].tolist()
    return words


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


_GROUPS: Final = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(shift))
    for low, high, shift in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)
