"""Marks: what is written is what is read, and what is not a mark is none."""

from __future__ import annotations

import pytest

from tidegate.schemas.marks import (
    MARKER_BYTES_MAX,
    Marker,
    Tick,
    announced_ms,
    barrier,
    gap,
    marker_headers,
    read_mark,
    tick_headers,
    time_jump,
)


@pytest.mark.parametrize("marker", [barrier("e" * 16), gap(3, 70), time_jump(1_700_000_000_000)])
def test_markers_come_back_as_they_were_written(marker: Marker) -> None:
    """Through the headers of a record."""
    assert read_mark(marker_headers(marker)) == marker


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "9" * 16, "١٢"])
def test_a_jump_that_names_no_time_announces_none(text: str) -> None:
    """Whoever wrote it: only decimal digits of a time are believed."""
    assert announced_ms(Marker("time-jump", {"to_ms": text})) == 0


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [],
        [("tick", None)],
        [("tick", b"short")],
        [*tick_headers(5), *tick_headers(6)],
        [("marker", b"no json")],
        [("marker", b"[]")],
        [("marker", b'{"kind":"party","arguments":{}}')],
        [("marker", b'{"kind":"gap","arguments":{"sequence":1}}')],
        [("other", b"12345678")],
    ],
)
def test_what_is_not_a_mark_is_none(headers: list[tuple[str, bytes | None]] | None) -> None:
    """It is a dead letter then, and moves no time."""
    assert read_mark(headers) is None
    assert read_mark(tick_headers(5)) == Tick(5)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"kind":"gap"}',
        b'{"kind":"flood","arguments":{}}',
        b'{"kind":["gap"],"arguments":{}}',
        b'{"kind":"gap","arguments":[]}',
        b'{"kind":"gap","arguments":{"sequence":1}}',
        pytest.param(b'{"kind":' + b"[" * 4_000, id="nested deeper than the interpreter's stack"),
        pytest.param(b'{"kind":"barrier","arguments":{"engine":"\\ud800"}}', id="half a pair"),
        pytest.param(b'{"kind":"barrier","arguments":{"\\ud800":"x"}}', id="half a pair as a name"),
        pytest.param(
            b'{"kind":"gap","arguments":{"x":"%s"}}' % (b"x" * MARKER_BYTES_MAX), id="too long"
        ),
    ],
)
def test_hostile_markers_are_no_mark(value: bytes) -> None:
    """Whatever the bytes, reading them neither raises nor lets through what cannot be written."""
    assert read_mark([("marker", value)]) is None
