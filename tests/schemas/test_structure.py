"""Bytes are walked before fastavro decodes them: hostile bytes are refused without allocating."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from tidegate.schemas.errors import EventError
from tidegate.schemas.structure import compile_walk, read_long


def record(*types: Any) -> dict[str, Any]:
    """A record schema with one field per type."""
    fields = [{"name": f"f{index}", "type": kind} for index, kind in enumerate(types)]
    return {"type": "record", "name": "R", "fields": fields}


def varint(value: int) -> bytes:
    """Zig-zag varint of a 64-bit number."""
    number = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


STRINGS = {"type": "array", "items": "string"}


@pytest.mark.parametrize("value", [0, -1, 1, 63, -64, 64, 2**31, 2**63 - 1, -(2**63)])
def test_numbers_are_read_as_the_specification_lays_them_out(value: int) -> None:
    """Zig-zag varints up to 64 bits, and the position behind them."""
    data = b"x" + varint(value) + b"y"
    assert read_long(data, 1) == (value, len(data) - 1)


@pytest.mark.parametrize(
    ("schema", "data", "reason"),
    [
        (record("long"), b"", "truncated"),
        (record("long"), b"\x80", "truncated"),
        (record("long"), b"\xff" * 10, "value"),
        (record("long"), b"\xff" * 9 + b"\x7f", "value"),
        (record("int"), varint(2**31), "value"),
        (record("int"), varint(-(2**31) - 1), "value"),
        (record("boolean"), b"", "truncated"),
        (record("boolean"), b"\x02", "value"),
        (record("double"), b"\0" * 7, "truncated"),
        (record("string"), varint(-1), "value"),
        (record("string"), varint(2) + b"a", "truncated"),
        (record("string"), varint(2**62), "truncated"),
        (record("bytes"), varint(2**62), "truncated"),
        (record(["null", "string"]), varint(-1), "value"),
        (record(["null", "string"]), varint(2), "value"),
        (record(STRINGS), varint(2**62), "truncated"),
        (record(STRINGS), varint(-(2**62)) + varint(0), "truncated"),
        (record(STRINGS), varint(-1) + varint(7) + varint(1) + b"a" + varint(0), "value"),
        (record({"type": "map", "values": "null"}), varint(2**40), "truncated"),
    ],
)
def test_what_is_out_of_bounds_is_refused(schema: Any, data: bytes, reason: str) -> None:
    """Lengths, counts, branches and numbers outside their bounds are dead letters."""
    with pytest.raises(EventError) as caught:
        compile_walk(schema)(data, 0)
    assert caught.value.reason == reason


def test_blocks_with_a_size_are_walked() -> None:
    """Encoders of other languages write a negative count and the block's size: that is sound."""
    block = varint(1) + b"a" + varint(1) + b"b"
    data = varint(-2) + varint(len(block)) + block + varint(0)
    assert compile_walk(record(STRINGS))(data, 0) == len(data)


def test_refusing_huge_counts_takes_no_memory() -> None:
    """A few bytes cannot ask for more memory than they are."""
    walk = compile_walk(record(STRINGS))
    tracemalloc.start()
    with pytest.raises(EventError):
        walk(varint(2**60), 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (record(["null", "R"]), "contains itself"),
        (record({"type": "array", "items": "R"}), "contains itself"),
        (record({"type": "array", "items": "null"}), "may take no bytes"),
        (record({"type": "array", "items": {"type": "record", "name": "E", "fields": []}}),
         "may take no bytes"),
        ({"type": "record", "name": "R", "fields": []}, "may take no bytes"),
        (record("float"), "not used"),
        (record({"type": "enum", "name": "E", "symbols": ["A"]}), "not used"),
        (record({"type": "fixed", "name": "F", "size": 0}), "not used"),
    ],
)  # fmt: skip
def test_schemas_that_cannot_be_bounded_are_refused(schema: Any, said: str) -> None:
    """Recursion, items without bytes and unused types never enter the catalogue."""
    with pytest.raises(ValueError, match=said):
        compile_walk(schema)


def test_a_named_record_may_be_used_twice() -> None:
    """A reference to a finished record is not recursion."""
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "int"}]}
    assert compile_walk(record({"type": inner}, "Inner"))(varint(1) + varint(2), 0) == 2
