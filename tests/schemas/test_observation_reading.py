"""Reading fast: what the writer wrote is recognised, and nothing else is read without care."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schemas.test_facts import batch
from tidegate.schemas import codec, observation_reading
from tidegate.schemas.errors import EventError
from tidegate.schemas.facts import (
    COLUMNS,
    ObservationBatch,
    columns_to_table,
    empty_table,
    encode_observation,
)
from tidegate.schemas.observation_canonical import read_canonical
from tidegate.schemas.observation_reading import decode_observation

EMPTY = ObservationBatch(0, 0, 0, "engine-1", 5, (1, 2, 3))


def some(kinds: tuple[str, ...]) -> ObservationBatch:
    """The batch with facts of some kinds only; rows of others point nowhere, so those go, too."""
    tables = {
        kind: batch().tables[kind] if kind in kinds else empty_table(kind) for kind in COLUMNS
    }
    return batch(tables=tables)


def careful(value: bytes) -> ObservationBatch | None:
    """What the slow way makes of `value`, None when it is refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observation_reading, "read_canonical", lambda _: None)
        try:
            return decode_observation(value)
        except EventError:
            return None


def same(one: ObservationBatch, two: ObservationBatch) -> bool:
    """Whether two batches are equal, tables by their bytes."""
    columns = [
        {kind: [column.tobytes() for column in table.values()] for kind, table in it.tables.items()}
        for it in (one, two)
    ]
    return replace(one, tables={}) == replace(two, tables={}) and columns[0] == columns[1]


@pytest.mark.parametrize(
    "found",
    [EMPTY, batch(), some(("exposure",)), some(("matched", "irregular")),
     some(("closed", "closed_shadow"))],
)
def test_what_the_writer_wrote_is_recognised(found: ObservationBatch) -> None:
    """The fast way reads it, whatever kinds are there, and reads what the slow way reads."""
    value = encode_observation(found)
    fast = read_canonical(value)
    slow = careful(value)
    assert fast is not None
    assert slow is not None
    assert same(fast, slow)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_both_ways_agree_on_damaged_bytes(data: st.DataObject) -> None:
    """Changed, cut and longer bytes: the same batch either way, or refused either way."""
    value = bytearray(encode_observation(data.draw(st.sampled_from([batch(), EMPTY]))))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(value)))
    damaged = data.draw(
        st.sampled_from([bytes(value), bytes(value[:end]), bytes(value) + b"\0"])
    )
    slow = careful(damaged)
    try:
        fast = decode_observation(damaged)
    except EventError:
        assert slow is None
    else:
        assert slow is not None
        assert same(fast, slow)


def test_other_orders_and_other_blocks_are_read_with_care() -> None:
    """Tables in another order, or an array in two blocks, are sound Avro and say the same."""
    value = encode_observation(batch())
    record = codec.decode_record("observation", value)
    record["tables"].reverse()
    turned = codec.encode_record("observation", record)
    assert read_canonical(turned) is None
    assert same(decode_observation(turned), batch())
    # A count of -10 has the block's size in bytes behind it.
    tables = value.index(b"\x14\x10exposure")
    size = len(value) - tables - 2
    sized = bytes((0x13, (size << 1) & 0x7F | 0x80, size >> 6))
    blocked = value[:tables] + sized + value[tables + 1 :]
    assert read_canonical(blocked) is None
    assert same(decode_observation(blocked), batch())


def test_columns_cannot_be_written_to() -> None:
    """Readers share a batch: nobody changes it."""
    table = columns_to_table("measure", {"row": [0], "name": [0], "value": [2.0]})
    found = decode_observation(
        encode_observation(batch(tables={**batch().tables, "measure": table}))
    )
    with pytest.raises(ValueError, match="read-only"):
        found.tables["measure"]["value"][0] = 3.0
    assert np.array_equal(found.tables["measure"]["value"], [2.0])
