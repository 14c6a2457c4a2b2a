"""A look at Avro bytes before they are decoded: every length, count and index is within bounds.

fastavro trusts its input: a negative union index picks a wrong branch, a boolean may be any byte,
and a count of items that take no bytes allocates without end. A walk over the bytes that builds
nothing refuses all of it first; what it accepts, fastavro decodes to what was meant. Bytes are
laid out as in the Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidegate.schemas.errors import EventError

Walk = Callable[[bytes, int], int]
"""Takes bytes and a position, gives the position behind the value, or raises EventError."""

_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_LONG_BYTES_MAX = 10


def read_long(data: bytes, position: int) -> tuple[int, int]:
    """A zig-zag varint of at most 64 bits at `position`, and the position behind it.

    Raises:
        EventError: `truncated`, or `value` when it is longer than 64 bits.

    >>> read_long(bytes([0x80, 0x01]), 0)
    (64, 2)
    """
    shifted = 0
    for index in range(_LONG_BYTES_MAX):
        if position >= len(data):
            raise EventError("truncated", f"a number ends after {len(data)} bytes")
        byte = data[position]
        position += 1
        shifted |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if shifted >= 2**64:
                break
            return (shifted >> 1) ^ -(shifted & 1), position
    raise EventError("value", "a number has more than 64 bits")


def compile_walk(schema: Any) -> Walk:
    """The walk for a schema as JSON gives it.

    Raises:
        ValueError: the schema is recursive, has items that may take no bytes, or a type that
            Tidegate's records do not use.
    """
    walk, least = _compile(schema, {})
    if least < 1:
        raise ValueError("a record that may take no bytes cannot be told from nothing")
    return walk


def _compile(schema: Any, named: dict[str, tuple[Walk, int] | None]) -> tuple[Walk, int]:
    """The walk, and the least number of bytes a value takes."""
    if isinstance(schema, list):
        return _union(schema, named)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, (dict, list)):
        return _compile(kind, named)
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    if kind == "record":
        return _record(schema, named)
    if kind in ("array", "map"):
        return _blocks(kind, schema, named)
    if kind in named:
        known = named[kind]
        if known is None:
            raise ValueError(f"{kind} contains itself: its depth has no bound")
        return known
    raise ValueError(f"type {kind} is not used by Tidegate's records")


def _record(schema: Any, named: dict[str, tuple[Walk, int] | None]) -> tuple[Walk, int]:
    name = schema["name"]
    named[name] = None
    parts = [_compile(item["type"], named) for item in schema["fields"]]
    walks = tuple(walk for walk, _ in parts)

    def walk(data: bytes, position: int) -> int:
        for part in walks:
            position = part(data, position)
        return position

    compiled = walk, sum(least for _, least in parts)
    named[name] = compiled
    return compiled


def _union(branches: list[Any], named: dict[str, tuple[Walk, int] | None]) -> tuple[Walk, int]:
    walks = tuple(_compile(branch, named)[0] for branch in branches)

    def walk(data: bytes, position: int) -> int:
        index, position = read_long(data, position)
        if not 0 <= index < len(walks):
            raise EventError("value", f"union branch {index} of {len(walks)}")
        return walks[index](data, position)

    return walk, 1


def _blocks(kind: str, schema: Any, named: dict[str, tuple[Walk, int] | None]) -> tuple[Walk, int]:
    """Blocks of items; a negative count is followed by the block's size in bytes."""
    item, least = _compile(schema["items" if kind == "array" else "values"], named)
    keyed = kind == "map"
    if not keyed and least < 1:
        raise ValueError("array items may take no bytes: a few bytes could ask for any memory")

    def walk(data: bytes, position: int) -> int:
        while True:
            count, position = read_long(data, position)
            if count == 0:
                return position
            end = -1
            if count < 0:
                size, position = read_long(data, position)
                count, end = -count, position + size
            if count > len(data) - position:
                raise EventError("truncated", f"{count} items in {len(data) - position} bytes")
            for _ in range(count):
                if keyed:
                    position = _sized(data, position)
                position = item(data, position)
            if end not in (-1, position):
                raise EventError("value", "a block is not as long as it says")

    return walk, 1


def _null(data: bytes, position: int) -> int:
    return position


def _boolean(data: bytes, position: int) -> int:
    if position >= len(data):
        raise EventError("truncated", f"a boolean is missing after {len(data)} bytes")
    if data[position] > 1:
        raise EventError("value", f"a boolean is {data[position]}")
    return position + 1


def _int(data: bytes, position: int) -> int:
    value, position = read_long(data, position)
    if not _INT_MIN <= value <= _INT_MAX:
        raise EventError("value", f"{value} has more than 32 bits")
    return position


def _long(data: bytes, position: int) -> int:
    return read_long(data, position)[1]


def _double(data: bytes, position: int) -> int:
    if position + 8 > len(data):
        raise EventError("truncated", f"a double ends after {len(data)} bytes")
    return position + 8


def _sized(data: bytes, position: int) -> int:
    size, position = read_long(data, position)
    if size < 0:
        raise EventError("value", f"a length is {size}")
    if size > len(data) - position:
        raise EventError("truncated", f"{size} bytes of text in {len(data) - position}")
    return position + size


_PRIMITIVES: dict[str, tuple[Walk, int]] = {
    "null": (_null, 0),
    "boolean": (_boolean, 1),
    "int": (_int, 1),
    "long": (_long, 1),
    "double": (_double, 8),
    "string": (_sized, 1),
    "bytes": (_sized, 1),
}
