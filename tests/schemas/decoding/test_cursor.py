"""A cursor moves many records a field on at once, and says which it did not understand."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas.avro_writing import long_bytes, sized
from tidegate.schemas.decoding.cursor import Cursor, first_words

HEAD = b"\xc3\x01" + bytes(range(8))
LONG_8_BYTES = 2**55 - 1
"""The largest number whose zig-zag fits in 8 bytes of 7 bits."""


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_longs(numbers: list[int]) -> None:
    """Numbers of up to 8 bytes are read; longer ones are left to the codec."""
    cursor = Cursor([HEAD + long_bytes(number) + b"." for number in numbers], HEAD)
    found = cursor.long().tolist()
    short = [len(long_bytes(number)) <= 8 for number in numbers]
    assert cursor.sound.tolist() == short
    for number, each, is_short in zip(numbers, found, short, strict=True):
        assert not is_short or number == each
    assert [tail for tail, ok in zip(cursor.tails(), short, strict=True) if ok] == [
        b"." for ok in short if ok
    ]


def test_longs_of_every_length() -> None:
    """At each length of a number, on both sides of where the next begins."""
    edges = [sign * 2**bits + step for bits in range(56) for sign in (1, -1) for step in (-1, 0)]
    numbers = [number for number in edges if -LONG_8_BYTES <= number <= LONG_8_BYTES]
    cursor = Cursor([HEAD + long_bytes(number) for number in numbers], HEAD)
    assert cursor.long().tolist() == numbers
    assert cursor.sound.all()


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=12))
def test_names(texts: list[bytes]) -> None:
    """1 to 255 bytes of UTF-8 are names; everything else is not sound, and harms no neighbour."""
    cursor = Cursor([HEAD + sized(text) + b"." for text in texts], HEAD)
    found = cursor.name()
    for text, each, sound in zip(texts, found, cursor.sound.tolist(), strict=True):
        assert sound == (1 <= len(text) <= 255 and is_utf8(text))
        assert not sound or each == text


def is_utf8(text: bytes) -> bool:
    """Whether a text can be read."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_doubles_have_limits() -> None:
    """Limits belong to what is allowed; NaN and infinity never do."""
    values = [-1.0, -1.5, 1.0, float("nan"), float("inf"), 0.0]
    cursor = Cursor([HEAD + struct.pack("<d", value) + b"." for value in values], HEAD)
    cursor.double(-1.0, 1.0)
    assert cursor.sound.tolist() == [True, False, True, False, False, True]


def test_optional_fields_move_by_what_is_there() -> None:
    """Null takes one byte, and the next field is found behind it."""
    texts = [b"\0", b"\2" + sized(b"yes"), b"\2" + sized(b""), b"\4", b"\2" + sized(b"x" * 256)]
    cursor = Cursor([HEAD + text + b"." for text in texts], HEAD)
    assert cursor.optional_text()[:3] == [None, b"yes", b""]
    assert cursor.sound.tolist() == [True, True, True, False, False]
    assert cursor.tails()[:3] == [b"."] * 3


def test_foreign_heads_and_what_ends_early_are_not_sound() -> None:
    """A record never borrows the bytes of the next one."""
    broken = [HEAD + b"\2", HEAD, HEAD[:4], b"", bytes(10) + b"\2a."]
    cursor = Cursor([HEAD + b"\2a.", *broken, HEAD + b"\2b."], HEAD)
    cursor.name()
    tails = cursor.tails()
    assert cursor.sound.tolist() == [True, False, False, False, False, False, True]
    assert tails == [b".", b"", b"", b"", b"", b"", b"."]


def test_no_records_are_no_trouble() -> None:
    """An empty run moves nothing."""
    cursor = Cursor([], HEAD)
    assert cursor.name() == [] == cursor.tails()
    assert cursor.long().dtype == np.int64
    assert first_words([]) == []
