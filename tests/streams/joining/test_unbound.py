"""Records framed with an id that is not bound yet: nothing of their run counts before it is."""

from __future__ import annotations

import pytest

from tests.schemas.samples import event
from tidegate.schemas.catalogue import latest
from tidegate.schemas.codec import encode
from tidegate.schemas.errors import UnknownSchemaId
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.merge import Run
from tidegate.streams.output import Output

NAMES = ("prediction", "shadow-prediction", "outcome")
BEGIN_MS = 1_700_000_000_000


def joiner(bindings: dict[int, bytes] | None) -> tuple[Joiner, list[Output]]:
    """A joiner at its first tick, and where it puts things out."""
    outputs: list[Output] = []
    made = Joiner(0, JoinerSettings(observation_partitions=1), "e1", outputs.append, bindings)
    made.advance(BEGIN_MS)
    return made, outputs


def run_of(rank: int) -> Run:
    """A readable record, one that is none, one framed with id 7, a readable one again."""
    name = NAMES[rank]
    time_field = "occurred_at" if name == "outcome" else "served_at"
    events = [
        event(name, request_id=f"request-{number}", **{time_field: BEGIN_MS}) for number in range(3)
    ]
    values: list[bytes | None] = [
        encode(events[0]), b"no event", encode(events[1], 7), encode(events[2])
    ]  # fmt: skip
    return Run(rank, BEGIN_MS, 1, values, 0, len(values), lambda index: BEGIN_MS)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_an_unbound_id_changes_nothing_and_is_taken_later(rank: int) -> None:
    """State and outputs stay as they were; once bound, all is as if it had always been."""
    fingerprint = latest(NAMES[rank]).fingerprint
    plain, expected = joiner({7: fingerprint})
    plain.records(run_of(rank))
    bindings: dict[int, bytes] = {}
    waiting, outputs = joiner(bindings)
    before, told = waiting.dump(), len(outputs)
    run = run_of(rank)
    for _ in range(2):
        with pytest.raises(UnknownSchemaId):
            waiting.records(run)
        assert (waiting.dump(), len(outputs)) == (before, told)
    bindings[7] = fingerprint
    waiting.records(run)
    for each in (plain, waiting):
        each.advance(BEGIN_MS + 60_000)
    assert waiting.dump() == plain.dump()
    assert outputs == expected
    assert waiting.counters() == plain.counters()


@pytest.mark.parametrize("bindings", [None, {7: b""}])
def test_what_nobody_will_ever_read_is_a_dead_letter(bindings: dict[int, bytes] | None) -> None:
    """Without any registry, and when the id's schema was refused."""
    made, outputs = joiner(bindings)
    made.records(run_of(2))
    assert made.counters()["outcome.dead_lettered"] == 2
    assert [output.topic for output in outputs].count("dead-letters") == 2
