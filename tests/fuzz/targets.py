"""What reads bytes from the wire, and what it may do with hostile ones: refuse them, or be right.

A target takes many records and answers with one word for each: `accepted`, or the reason why not.
Anything else it raises is a finding, and so is an answer that a second look does not confirm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.fuzz.folds import fold_of_decider, fold_of_joiner
from tests.schemas.decoding.oracle import KINDS, decoded, one_by_one
from tests.streams.joining.judging import rows_of
from tidegate.schemas import catalogue, codec
from tidegate.schemas.errors import EventError, UnknownSchemaId
from tidegate.schemas.facts import encode_observation
from tidegate.schemas.marks import read_mark, tick_headers
from tidegate.schemas.observation_reading import decode_observation

Target = Callable[[Sequence[bytes]], list[str]]

ACCEPTED = "accepted"
IDS = {7: "prediction", 8: "shadow-prediction", 9: "outcome"}
BINDINGS: codec.Bindings = {
    **{number: catalogue.latest(name).fingerprint for number, name in IDS.items()},
    255: b"",
}


class Disagreement(Exception):
    """Two readers of the same bytes came to different conclusions."""


def _event(name: str) -> Target:
    """Control, routing and the like: what is accepted is written again and comes back equal."""
    # The corpus was written with the first versions.
    bindings = {11: catalogue.released()[name][0].fingerprint}

    def read(value: bytes) -> str:
        try:
            event = codec.decode(name, value, bindings)
        except EventError as error:
            return error.reason
        except UnknownSchemaId:
            return "unbound"
        # By bytes: equal events may hold NaN, and every sound one can be written.
        written = codec.encode(event)
        if codec.encode(codec.decode(name, written)) != written:
            raise Disagreement(f"{name} does not come back as it was written")
        return ACCEPTED

    return lambda values: [read(value) for value in values]


def _joined(name: str) -> Target:
    """The three topics of the joiner: many records at once must equal one by one."""
    decoder = KINDS[name][0](BINDINGS)

    def read(values: Sequence[bytes]) -> list[str]:
        words = [
            "unbound" if _unbound(value) else "" for value in values
        ]
        bound = [value for value, word in zip(values, words, strict=True) if not word]
        rows, faults = one_by_one(name, bound, BINDINGS)
        if decoded(decoder, bound) != (rows, faults):
            raise Disagreement(f"{name}: decoded together and one by one they differ")
        reasons = {number: reason for number, reason, _ in faults}
        found = iter([reasons.get(number, ACCEPTED) for number in range(len(bound))])
        return [word or next(found) for word in words]

    return read


def _unbound(value: bytes) -> bool:
    try:
        codec.require_bound([value], BINDINGS)
    except UnknownSchemaId:
        return True
    return False


def _observation(value: bytes) -> str:
    try:
        batch = decode_observation(value)
    except EventError as error:
        return error.reason
    for _ in rows_of([batch]):  # every row's indexes lead somewhere
        pass
    written = encode_observation(batch)
    if encode_observation(decode_observation(written)) != written:
        raise Disagreement("an observation does not come back as it was written")
    return ACCEPTED


def _tick(value: bytes) -> str:
    mark = read_mark([("tick", value)])
    if mark is not None and [("tick", value)] != tick_headers(getattr(mark, "log_time_ms", -1)):
        raise Disagreement("a tick is not what its bytes say")
    return ACCEPTED if mark else "no mark"


def _marker(value: bytes) -> str:
    return ACCEPTED if read_mark([("marker", value)]) else "no mark"


def _each(read: Callable[[bytes], str]) -> Target:
    return lambda values: [read(value) for value in values]


def new_targets() -> Mapping[str, Target]:
    """Every kind of the corpus and its reader, with empty caches."""
    events = ("control", "routing", "command", "applied", "decision", "dead-letter")
    return {
        "joiner": fold_of_joiner,
        "decider": fold_of_decider,
        **{name: _joined(name) for name in IDS.values()},
        **{name: _event(name) for name in events},
        "observation": _each(_observation),
        "tick": _each(_tick),
        "marker": _each(_marker),
    }


def kinds_of(corpus: Mapping[str, Any]) -> list[str]:
    """What is fuzzed, in order: what strangers write comes twice."""
    others = sorted(set(corpus) - set(IDS.values()))
    return [*IDS.values(), *IDS.values(), *others, "joiner", "decider"]
