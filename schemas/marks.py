"""Ticks and markers: records without a value that carry log time and recorded breaks.

A tick is one header `tick`, 8 bytes, little endian, log time in ms. A marker is one header
`marker`, UTF-8 JSON. Consumers that skip records without a value skip both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MARKER_BYTES_MAX = 8_192
MARKER_KINDS = ("barrier", "gap", "time-jump")
_DIGITS_MAX = 15
_INPUT_GAP = ("topic", "partition", "begin", "end", "reason", "actor")


@dataclass(frozen=True, slots=True)
class Tick:
    """Log time reaches `log_time_ms`."""

    log_time_ms: int


@dataclass(frozen=True, slots=True)
class Marker:
    """What must reach a fold in order: engine barrier, gap accepted, time jump, offsets skipped."""

    kind: str
    arguments: Mapping[str, str] = field(default_factory=dict)


Mark = Tick | Marker


def time_jump(to_ms: int) -> Marker:
    """Announces that the next tick may be up to `to_ms`, however far ahead that is.

    Naming the time lets an announcement grow old by itself: a second ticker's copy of it does
    not stay behind as a licence for the next broken clock.

    >>> announced_ms(time_jump(1_700_000_000_000))
    1700000000000
    """
    return Marker("time-jump", {"to_ms": str(to_ms)})


def announced_ms(marker: Marker) -> int:
    """Time to which a `time-jump` marker announces a jump; one that names none announces none."""
    text = marker.arguments.get("to_ms", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else 0


def barrier(engine: str) -> Marker:
    """From here on the log is for the engine named: another one checkpoints and stops."""
    return Marker("barrier", {"engine": engine})


def gap(source_partition: int, sequence: int, reason: str = "", actor: str = "") -> Marker:
    """Accepts that batches of a source partition below `sequence` never come."""
    said = {"reason": reason, "actor": actor}
    return Marker(
        "gap",
        {
            "source_partition": str(source_partition),
            "sequence": str(sequence),
            **{name: text for name, text in said.items() if text},
        },
    )


def input_gap(arguments: Mapping[str, str]) -> Marker:
    """Tells deciders that records of a joiner's input are accepted as lost: evidence is missing."""
    return Marker("gap", {name: arguments[name] for name in _INPUT_GAP})


def skip(arguments: Mapping[str, str]) -> Marker:
    """Stands where offsets were skipped. It is made from the topic `breaks` and never read from a
    log: whoever may write there could otherwise have records passed over.
    """
    return Marker("skip", arguments)


def tick_headers(log_time_ms: int) -> list[tuple[str, bytes]]:
    """Headers of a tick record.

    >>> read_mark(tick_headers(1_700_000_000_000))
    Tick(log_time_ms=1700000000000)
    """
    return [("tick", log_time_ms.to_bytes(8, "little"))]


def marker_headers(marker: Marker) -> list[tuple[str, bytes]]:
    """Headers of a marker record."""
    document = {"kind": marker.kind, "arguments": dict(sorted(marker.arguments.items()))}
    return [("marker", json.dumps(document, separators=(",", ":")).encode())]


def read_mark(headers: Sequence[tuple[str, bytes | None]] | None) -> Mark | None:
    """The mark a record without value carries, or None: then the record is a dead letter."""
    if not headers or len(headers) != 1:
        return None
    name, value = headers[0]
    if value is None:
        return None
    if name == "tick" and len(value) == 8:
        return Tick(int.from_bytes(value, "little"))
    if name == "marker":
        return _read_marker(value)
    return None


def _read_marker(value: bytes) -> Marker | None:
    if len(value) > MARKER_BYTES_MAX:
        return None
    try:
        document = json.loads(value)
        kind, arguments = document["kind"], document["arguments"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if kind not in MARKER_KINDS or not isinstance(arguments, dict):
        return None
    if not all(_is_text(item) for pair in arguments.items() for item in pair):
        return None
    return Marker(kind, arguments)


def _is_text(item: object) -> bool:
    """Whether it can be written again: JSON can hold halves of surrogate pairs, UTF-8 cannot."""
    if not isinstance(item, str):
        return False
    try:
        item.encode()
    except UnicodeEncodeError:
        return False
    return True
