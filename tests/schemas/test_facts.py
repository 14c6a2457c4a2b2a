"""Facts: what the joiner packs is what the decider counts, and nothing unsound gets in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import codec, facts
from tidegate.schemas.context import Context
from tidegate.schemas.errors import EventError
from tidegate.schemas.facts import ObservationBatch, encode_observation
from tidegate.schemas.observation_reading import decode_observation

CONTEXT = Context("click-ranker", 1, "challenger", "champion", "ranker", "v1", 0, 7, "SPLIT")
ROWS: Mapping[str, tuple[Any, ...]] = {
    "exposure": (2**64 - 1, 5, 0, 1, 1_763_737_000_000, 0.5, 0.25, np.nan, 3, 1.0),
    "shadow": (1, 0, 0, 0.5, 0.25, 2, 10.0, np.nan, 0, 2),
    "matched": (1, 0, 0, 2.5, 1_763_737_000_001, facts.NONE),
    "closed": (1, 5, 0, 0, 1_763_737_000_000, 0.5, np.nan, np.nan, 0, 1.0),
    "closed_metric": (0, 0, 2, 1.0, 2.0, 3.0, 1.0, 2.0),
    "closed_feature": (0, 1, -1.5),
    "closed_shadow": (0, 0, 0.25, 0.75),
    "exposure_feature": (0, 1, -1.5),
    "measure": (0, 0, 0.25),
    "irregular": (5, 2, 1, facts.NONE, facts.NONE, np.nan),
}


def batch(**changes: Any) -> ObservationBatch:
    """One fact of every kind."""
    tables = {
        kind: facts.columns_to_table(
            kind,
            {name: [item] for (name, _), item in zip(facts.COLUMNS[kind], row, strict=True)},
        )
        for kind, row in ROWS.items()
    }
    whole = ObservationBatch(
        source_partition=3, partition=1, sequence=9, engine="engine-1", log_time_ms=1_000,
        covers=(10, 0, 12), contexts=(CONTEXT,), attributes=((), (("region", "us"),)),
        names=("conversion", "age"), tables=tables,
    )  # fmt: skip
    return replace(whole, **changes)


def with_row(kind: str, **changes: Any) -> ObservationBatch:
    """The batch with some columns of one row changed."""
    found = batch()
    table = {name: column.copy() for name, column in found.tables[kind].items()}
    for name, value in changes.items():
        table[name][0] = value
    return replace(found, tables={**found.tables, kind: table})


def test_facts_come_back() -> None:
    """Encoding and decoding changes nothing, of no kind."""
    found = decode_observation(encode_observation(batch()))
    for kind, row in ROWS.items():
        assert found.count(kind) == 1
        table = found.tables[kind]
        assert list(table) == [name for name, _ in facts.COLUMNS[kind]]
        np.testing.assert_array_equal([table[name][0] for name in table], row)
    assert replace(found, tables={}) == replace(batch(), tables={})


def test_a_batch_without_closed_shadows_is_written_as_before() -> None:
    """A kind is a value in the record: who has none of it writes the bytes of the version before,
    and reads a record of that version as one that has none."""
    tables = {kind: table for kind, table in batch().tables.items() if kind != "closed_shadow"}
    value = encode_observation(batch(tables=tables))
    assert b"closed_shadow" not in value
    found = decode_observation(value)
    assert found.count("closed_shadow") == 0
    assert all(column.size == 0 for column in found.tables["closed_shadow"].values())
    assert {kind for kind in facts.COLUMNS if found.count(kind)} == tables.keys()


def test_bytes_are_those_of_the_library() -> None:
    """What is written by hand for speed is what fastavro writes of the same values."""
    wide = batch(
        names=("x" * 64, "größe"), sequence=2**40, covers=(2**62, 63, 64),
        contexts=(CONTEXT, CONTEXT._replace(routing_version=2**53 - 1, variant="ä")),
        attributes=((), (("channel", "web"), ("region", "us"))),
    )  # fmt: skip
    for each in (wide, batch(), ObservationBatch(0, 0, 0, "engine-1", 5, (1, 2, 3))):
        value = encode_observation(each)
        values = codec.decode_record("observation", value)
        assert value == codec.encode_record("observation", values)


def test_a_batch_without_facts_says_how_far_it_came() -> None:
    """An empty batch is sound: it carries log time and offsets, and every kind has 0 rows."""
    empty = ObservationBatch(0, 0, 0, "engine-1", 5, (1, 2, 3))
    found = decode_observation(encode_observation(empty))
    assert (found.log_time_ms, found.covers, found.attributes) == (5, (1, 2, 3), ((),))
    assert all(found.count(kind) == 0 for kind in facts.COLUMNS)


def test_columns_must_be_those_of_the_kind() -> None:
    """A column too few is the writer's mistake and is said at once."""
    with pytest.raises(ValueError, match="columns of 'measure'"):
        facts.columns_to_table("measure", {"row": [0], "name": [0]})


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("exposure", {"context": 1}), ("exposure", {"attributes": 2}), ("exposure", {"status": 4}),
        ("exposure", {"propensity": np.nan}), ("exposure", {"weight": np.inf}),
        ("exposure", {"context": facts.NONE}), ("shadow", {"agree": 3}),
        ("shadow", {"shadow_context": 1}), ("shadow", {"shadow_status": 9}),
        ("matched", {"metric": 2}), ("matched", {"source": 2}), ("matched", {"value": np.inf}),
        ("closed", {"status": 255}), ("closed_metric", {"row": 1}),
        ("closed_metric", {"sum": np.nan}),
        ("closed_feature", {"feature": 2}), ("exposure_feature", {"row": 1}),
        ("measure", {"name": 2}), ("irregular", {"class": 0}), ("irregular", {"class": 6}),
        ("irregular", {"stream": 3}), ("irregular", {"context": 1}),
        ("exposure", {"propensity": 0.0}), ("exposure", {"propensity": 5e-324}),
        ("exposure", {"propensity": 1.1}), ("exposure", {"weight": 0.0}),
        ("exposure", {"weight": -1.0}), ("exposure", {"score": np.inf}),
        ("exposure", {"latency": np.inf}), ("exposure", {"latency": 1e308}),
        ("exposure", {"latency": -1.0}), ("shadow", {"shadow_score": 1e16}),
        ("closed", {"weight": 0.0}), ("closed_metric", {"max": 1e16}),
        ("closed_metric", {"sum": 1e19}), ("irregular", {"value": np.inf}),
        ("closed_shadow", {"row": 1}), ("closed_shadow", {"shadow_context": 1}),
        ("closed_shadow", {"shadow_context": facts.NONE}), ("closed_shadow", {"score": np.nan}),
        ("closed_shadow", {"shadow_score": np.nan}), ("closed_shadow", {"shadow_score": np.inf}),
        ("closed_shadow", {"score": -1e16}),
    ],
)  # fmt: skip
def test_columns_are_guarded(kind: str, changes: dict[str, Any]) -> None:
    """Indexes, codes and values in their ranges: otherwise nothing of it is used."""
    with pytest.raises(EventError) as caught:
        decode_observation(encode_observation(with_row(kind, **changes)))
    assert caught.value.reason == "value"


HEADS: list[dict[str, Any]] = [
    {"engine": ""}, {"engine": "x" * 256}, {"names": ("conversion", "")}, {"sequence": -1},
    {"source_partition": -1}, {"partition": -1}, {"log_time_ms": -1}, {"covers": (1, 2)},
    {"covers": (1, 2, -3)}, {"attributes": ()}, {"attributes": ((("a", "b"),), ())},
    {"contexts": (CONTEXT._replace(experiment=""),)},
]  # fmt: skip


@pytest.mark.parametrize("changes", HEADS)
def test_heads_are_guarded(changes: dict[str, Any]) -> None:
    """A batch that cannot be placed or ordered is refused."""
    with pytest.raises(EventError):
        decode_observation(encode_observation(batch(**changes)))


def _repeat(tables: list[Any]) -> None:
    tables.append(tables[0])


def _rename_kind(tables: list[Any]) -> None:
    tables[0]["kind"] = "gossip"


def _rename_column(tables: list[Any]) -> None:
    tables[0]["columns"][0]["name"] = "Request"


def _count(count: int) -> Callable[[list[Any]], None]:
    def change(tables: list[Any]) -> None:
        tables[0]["count"] = count

    return change


def _cut_column(tables: list[Any]) -> None:
    tables[0]["columns"][1]["data"] = tables[0]["columns"][1]["data"][:-1]


@pytest.mark.parametrize(
    "change",
    [_repeat, _rename_kind, _rename_column, _cut_column, _count(2), _count(-1), _count(2**31 - 1)],
)
def test_tables_are_guarded(change: Callable[[list[Any]], None]) -> None:
    """Kinds known and single, columns named, lengths equal to count times width."""
    record = codec.decode_record("observation", encode_observation(batch()))
    change(record["tables"])
    with pytest.raises(EventError):
        decode_observation(codec.encode_record("observation", record))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damage_never_crashes(data: st.DataObject) -> None:
    """Flipped and cut bytes are refused or read as another sound batch; nothing else is raised."""
    value = bytearray(encode_observation(batch()))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(EventError):
        decode_observation(bytes(value[: data.draw(st.sampled_from([len(value), place]))]))
