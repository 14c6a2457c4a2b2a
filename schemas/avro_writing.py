"""Avro binary written piece by piece, for the one record that is written too often for a library.

Apache Avro 1.12 specification, "Binary Encoding". A block of an array or map is written whole,
with a positive count, as fastavro writes it: tests hold the two byte-equal.
"""

from __future__ import annotations

from collections.abc import Sequence


def long_bytes(number: int) -> bytes:
    """An `int` or `long`: zig-zag, 7 bits a byte, least significant first.

    >>> [long_bytes(number).hex() for number in (0, -1, 1, 64)]
    ['00', '01', '02', '8001']
    """
    left = (number << 1) ^ (number >> 63)
    if 0 <= left < 0x80:
        return bytes((left,))
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)


def sized(data: bytes) -> bytes:
    """`bytes`, or the UTF-8 of a `string`, behind its length.

    >>> sized(b"ab").hex()
    '046162'
    """
    return long_bytes(len(data)) + data


def block(items: Sequence[bytes]) -> bytes:
    """An array, or a map whose items are key and value, of items that are written already.

    >>> block([]).hex(), block([b"x"]).hex()
    ('00', '027800')
    """
    if not items:
        return b"\0"
    return long_bytes(len(items)) + b"".join(items) + b"\0"
