"""Mutations of real frames, each named by (seed, number) and made again from that alone."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.schemas import codec
from tidegate.schemas.catalogue import released
from tidegate.schemas.errors import EventError, UnknownSchemaId

CORPUS = Path(__file__).with_name("corpus")
STACKED_MAX = 4
FIELDS_SHARE = 0.5
"""So many mutations are sound Avro that says something odd."""

_NUMBERS = (
    b"\x00", b"\x01", b"\x02", b"\x7f", b"\x80", b"\xff", b"\xfe\x03", b"\x80\x04", b"\xff" * 9,
    b"\xfe" + b"\xff" * 7 + b"\x7f", b"\xff" * 9 + b"\x01", b"\xfe" + b"\xff" * 8 + b"\x01",
    b"\x80" * 10, b"\xfe\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x0f",
)  # fmt: skip
"""Varints at the edges: 0, -1, 1, 255 and 256 as lengths, 2^31, 2^62, -2^63, more than 64 bits."""
_FLOATS = (
    float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e308, 5e-324, -1.0, 1.0, 1e15, 1.1e15,
)  # fmt: skip
_DOUBLES = tuple(struct.pack("<d", value) for value in _FLOATS)
_WORDS = (*_DOUBLES, b"\xff" * 4, b"\0" * 4, b"\x05\0\0\0", b"\x80", b"\x04")
"""What stands in a column of facts."""
_INTEGERS = (0, -1, 1, 2**31 - 1, -(2**31), 253_402_300_799_999, 2**53, 2**63 - 1, -(2**63))
_STRINGS = ("", "\0", "é" * 128, "x" * 255, "x" * 256, "日本", "a/b", "NaN", "[" * 2_000,
            "9" * 5_000)  # fmt: skip
_TEXTS = (b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\0", "日本".encode())


def read_corpus() -> Mapping[str, Sequence[bytes]]:
    """Frames by what they claim to be: one file each, one frame a line, hexadecimal."""
    return {
        path.stem: [bytes.fromhex(line) for line in path.read_text(encoding="ascii").split()]
        for path in sorted(CORPUS.glob("*.hex"))
    }


class Mutator:
    """Mutations of the frames of one kind; `others` are frames of every kind."""

    def __init__(
        self, seed: int, kind: str, frames: Sequence[bytes], others: Sequence[bytes]
    ) -> None:
        self._seed = seed
        self._kind = kind
        self._frames = frames
        self._others = others
        self._records = [_record(kind, frame) for frame in frames] if kind in released() else []

    def mutation(self, number: int) -> bytes:
        """Mutation `number`: a frame with some of its fields changed, or its bytes, or both."""
        draw = random.Random(self._seed * 2**40 + number)
        data = draw.choice(self._frames)
        changes = draw.randint(1, STACKED_MAX)
        if self._records and draw.random() < FIELDS_SHARE:
            data = _fields(draw, self._kind, draw.choice(self._records))
            changes = draw.choice((0, 0, 0, 1))
        for _ in range(changes):
            data = draw.choice(_CHANGES)(draw, data, self._others)
        return data


def _record(kind: str, frame: bytes) -> Mapping[str, Any]:
    # Ids in the corpus stand for the versions it was written with, the first ones.
    bindings = {number: released()[kind][0].fingerprint for number in range(256)}
    return codec.decode_record(kind, frame, bindings)


def _fields(draw: random.Random, kind: str, record: Mapping[str, Any]) -> bytes:
    """The record with one to three fields that no honest emitter would write; sound Avro."""
    changed = dict(record)
    for name in draw.sample(sorted(record), draw.randint(1, 3)):
        changed[name] = _odd(draw, record[name])
    try:
        return codec.encode_record(kind, changed)
    except (EventError, UnknownSchemaId):  # it has no such type, or is too long to be sent
        return codec.encode_record(kind, record)


def _odd(draw: random.Random, value: Any) -> Any:
    """Another value of the same type, at the edges of what there can be; of many, one changes."""
    if isinstance(value, Mapping) and value:
        name = draw.choice(sorted(value))
        changed = {**value, name: _odd(draw, value[name])}
        if draw.random() < 0.2:
            changed |= {f"{draw.choice(_STRINGS)}{n}": value[name] for n in range(70)}
        return changed
    if isinstance(value, list) and value:
        place = draw.randrange(len(value))
        changed_list = [*value[:place], _odd(draw, value[place]), *value[place + 1 :]]
        return draw.choice((changed_list, changed_list, changed_list, [], value * 2))
    if isinstance(value, bytes):
        word = draw.choice(_WORDS)
        place = len(word) * draw.randint(0, len(value) // len(word))
        return draw.choice((value[:place] + word + value[place + len(word) :], value[:place]))
    if isinstance(value, bool) or value is None:
        return draw.choice((value, None, True, draw.choice(_FLOATS), draw.choice(_STRINGS)))
    edges = {str: _STRINGS, float: _FLOATS, int: _INTEGERS}.get(type(value))
    return draw.choice(edges) if edges else value


def _place(draw: random.Random, data: bytes) -> int:
    return draw.randint(0, len(data))


def _put(draw: random.Random, data: bytes, piece: bytes) -> bytes:
    """The piece over what stood there, or between."""
    place = _place(draw, data)
    return data[:place] + piece + data[place + draw.choice((0, 1, len(piece))) :]


def _flip(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    if not data:
        return data
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def _byte(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return _put(draw, data, bytes([draw.randrange(256)]))


def _number(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return _put(draw, data, draw.choice(_NUMBERS))


def _double(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    place = _place(draw, data)
    return data[:place] + draw.choice(_DOUBLES) + data[place + 8 :]


def _text(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return _put(draw, data, draw.choice(_TEXTS))


def _cut(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: _place(draw, data)]


def _remove(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, stop = sorted((_place(draw, data), _place(draw, data)))
    return data[:start] + data[stop:]


def _repeat(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, stop = sorted((_place(draw, data), _place(draw, data)))
    # Now and then past every size that is allowed to a record.
    times = draw.choice((2, 2, 2, 8, 1_000)) if stop - start < 100 else 2
    return data[:stop] + data[start:stop] * times + data[stop:]


def _splice(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = draw.choice(others)
    return data[: _place(draw, data)] + other[_place(draw, other) :]


def _deep(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Deep nesting where JSON has a value."""
    place = data.find(b":", _place(draw, data)) + 1
    return data[:place] + draw.choice((b"[", b'{"":')) * 2_000 + data[place:]


def _head(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    head = draw.choice((b"\x00" + bytes([0, 0, 0, draw.choice((7, 8, 9, 11, 255))]),
                        draw.choice(others)[:10], b"", b"\xc3\x01"))  # fmt: skip
    return head + data[10:]


_CHANGES: Sequence[Callable[[random.Random, bytes, Sequence[bytes]], bytes]] = (
    _flip, _flip, _byte, _byte, _number, _number, _double, _text, _cut, _remove, _repeat, _splice,
    _head, _deep,
)  # fmt: skip
