"""Avro binary written by hand is Avro binary."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas.avro_writing import block, long_bytes, sized


def library(schema: Any, value: Any) -> bytes:
    """What fastavro writes."""
    buffer = BytesIO()
    schemaless_writer(buffer, parse_schema(schema), value)
    return buffer.getvalue()


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers(number: int) -> None:
    """Every 64-bit number."""
    assert long_bytes(number) == library("long", number)


@given(st.lists(st.text()))
def test_arrays_of_texts(texts: list[str]) -> None:
    """Lengths are counted in bytes, arrays in items; an empty array is its end."""
    written = block([sized(text.encode()) for text in texts])
    assert written == library({"type": "array", "items": "string"}, texts)
