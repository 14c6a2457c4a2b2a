"""Maps of doubles are read by layout only when they are plain."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import pytest

from tidegate.schemas.avro_writing import long_bytes, sized
from tidegate.schemas.decoding.layouts import learn_layout

PADDING = bytes(64)


def written(values: Mapping[str, float]) -> bytes:
    """The map in one block."""
    items = [sized(name.encode()) + struct.pack("<d", value) for name, value in values.items()]
    return (long_bytes(len(items)) + b"".join(items) if items else b"") + b"\0"


def test_a_layout_reads_every_map_like_the_one_it_was_learnt_from() -> None:
    """Values come in the order of their names, whatever order they are written in."""
    first, second = ({"b": number, "a": -number, "größe": 0.5} for number in (1.0, 2.5))
    data = b"??" + written(first)
    layout = learn_layout(data + PADDING, 2, len(data) + 1, 64)
    assert layout is not None
    assert layout.names == ("a", "b", "größe")
    block = np.frombuffer(written(second), dtype=np.uint8)
    assert not ((block ^ layout.pattern) & layout.mask).any()
    assert layout.values(block.reshape(1, -1)).tolist() == [[-2.5, 2.5, 0.5]]


def test_an_empty_map_has_a_layout() -> None:
    """It is its end, and names nothing."""
    layout = learn_layout(written({}) + PADDING, 0, 5, 64)
    assert layout is not None
    assert (layout.size, layout.names) == (1, ())


@pytest.mark.parametrize(
    "data",
    [
        written({f"f{number}": 1.0 for number in range(17)}),
        written({"x" * 64: 1.0}),
        written({"": 1.0}),
        written({"a": 1.0})[:-1] + b"\2",
        written({"a": 1.0})[:-4],
        b"\4" + written({"a": 1.0})[1:-1] * 2 + b"\0",
        b"\1\x14" + written({"a": 1.0})[1:],
        b"\2\2\xff" + bytes(9),
    ],
    ids=["many", "long", "nameless", "blocks", "cut", "twice", "sized block", "not UTF-8"],
)
def test_what_is_not_plain_has_no_layout(data: bytes) -> None:
    """Then the record is read one by one, and what it means is decided there."""
    assert learn_layout(data + PADDING, 0, len(data), 16) is None
