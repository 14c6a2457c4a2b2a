"""Tables a client obeys: newest wins, rollbacks only grow, unsound ones change nothing."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.streams.tables import routing
from tidegate.agents.client.tables import ROLLBACKS_MAX, Tables
from tidegate.schemas.events import BucketRange, Control, Routing
from tidegate.streams.assignment import assign


def rollback(variant: str = "b", generation: int = 2, **changes: Any) -> Control:
    """A ROLLBACK record."""
    values: dict[str, Any] = {
        "control_id": "c", "experiment": "ranker", "generation": generation, "action": "ROLLBACK",
        "arguments": {"variant": variant}, "actor": "ann", "role": "owner", "reason": "r",
        "issued_at": 0,
    }  # fmt: skip
    return Control(**{**values, **changes})


def served(tables: Tables, experiment: str = "ranker") -> set[str]:
    """Variants that answer anybody."""
    table = tables.in_force[experiment].table
    assert table is not None
    return {assign(table, f"unit-{i}", "r").variant for i in range(500)}


def test_nothing_is_visible_before_it_is_published() -> None:
    """A table waits for the rollbacks that belong to it."""
    tables = Tables()
    tables.take_routing(routing({"a": 0, "b": 10_000}), 3)
    assert tables.in_force == {}
    tables.take_control(rollback(), 3, 0)
    (item,) = tables.publish()
    assert (item.rolled_back, item.partition, served(tables)) == (("b",), 3, {"a"})
    assert tables.publish() == ()


def test_only_newer_tables_are_obeyed() -> None:
    """(epoch, version) strictly increases; what is older or equal is ignored and counted."""
    tables = Tables()
    for epoch, version in [(0, 7), (0, 6), (0, 7), (1, 1), (0, 9), (1, 2)]:
        tables.take_routing(routing(epoch=epoch, version=version), 0)
        tables.publish()
    item = tables.in_force["ranker"]
    assert (item.epoch, item.version) == (1, 2)
    assert tables.counters["tables_ignored"] == 3


def test_order_does_not_matter() -> None:
    """Compaction, zombies and races may reorder records: the end is always the same."""
    events: list[Routing | Control] = [
        routing({"a": 5_000, "b": 5_000}, version=7),
        routing({"a": 4_000, "b": 6_000}, version=8, rolled_back=("c",)),
        routing({"a": 3_000, "b": 7_000}, version=9),
        rollback("b"), rollback("b", generation=1), rollback("x", generation=3),
    ]  # fmt: skip
    ends = set()
    for order in itertools.permutations(events):
        tables = Tables()
        for event in order:
            if isinstance(event, Routing):
                tables.take_routing(event, 0)
            else:
                tables.take_control(event, 0, 0)
            tables.publish()
        item = tables.in_force["ranker"]
        ends.add((item.version, item.rolled_back, frozenset(served(tables))))
    assert ends == {(9, ("b", "c"), frozenset({"a"}))}


def test_a_zombies_old_tables_bring_nothing_back() -> None:
    """Old tables behind the newest, or a newer one that forgot: the variant stays at 0."""
    tables = Tables()
    old = [routing({"a": 100, "b": 9_900}, version=version) for version in range(1, 9)]
    tables.take_routing(routing({"a": 10_000, "b": 0}, version=9, rolled_back=("b",)), 0)
    for table in old:
        tables.take_routing(table, 0)
    tables.take_routing(routing({"a": 100, "b": 9_900}, version=10), 0)  # it forgot the rollback
    tables.publish()
    assert tables.in_force["ranker"].version == 10
    assert served(tables) == {"a"}


def test_a_new_generation_starts_without_rollbacks_but_those_meant_for_it() -> None:
    """Rollbacks belong to a generation; one that came before its table is kept for it."""
    tables = Tables()
    tables.take_routing(routing({"a": 5_000, "b": 5_000, "c": 0}), 0)
    tables.take_control(rollback("b"), 0, 0)
    tables.take_control(rollback("c", generation=3), 0, 0)
    tables.publish()
    assert served(tables) == {"a"}
    tables.take_routing(
        routing({"a": 4_000, "b": 3_000, "c": 3_000}, version=8, generation=3), 0
    )
    (item,) = tables.publish()
    assert item.rolled_back == ("c",)
    assert served(tables) == {"a", "b"}
    tables.take_control(rollback("b", generation=2), 0, 0)
    assert tables.publish() == ()
    assert tables.counters["rollbacks_ignored"] == 1


@pytest.mark.parametrize(
    "ignored",
    [
        rollback(action="PAUSE"),
        rollback(arguments={}),
        rollback("a"),
        rollback(generation=0),
        rollback(expires_at=500),
    ],
)
def test_commands_that_do_not_concern_clients_have_no_effect(ignored: Control) -> None:
    """Other actions, no variant, control itself, any generation, expired: nothing changes."""
    tables = Tables()
    tables.take_routing(routing({"a": 5_000, "b": 5_000}), 0)
    tables.publish()
    tables.take_control(ignored, 0, 1_000)
    assert tables.publish() == ()


def test_a_rollback_without_a_table_is_confirmed_too() -> None:
    """A client that knows no table runs nothing of the experiment, and says so."""
    tables = Tables()
    tables.take_control(rollback(), 1, 0)
    (item,) = tables.publish()
    assert (item.table, item.version, item.generation, item.rolled_back) == (None, 0, 2, ("b",))


def broken(table: Routing, seed: int) -> Routing:
    """A table with something wrong."""
    rng = random.Random(seed)
    ranges = list(table.buckets)
    place = rng.randrange(len(ranges))
    item = ranges[place]
    kind = rng.randrange(4)
    if kind == 0:
        del ranges[place]
    elif kind == 1:
        ranges[place] = replace(item, end=item.end + rng.choice([-1, 1, 10_000]))
    elif kind == 2:
        ranges[place] = replace(item, variant="nobody")
    else:
        ranges.insert(place, BucketRange(variant=item.variant, start=-5, end=item.start))
    return replace(table, buckets=tuple(ranges))


@given(st.integers(0, 10**9))
def test_unsound_tables_are_refused_whole(seed: int) -> None:
    """Whatever is wrong with a newer table, the last good one stays in force."""
    tables = Tables()
    tables.take_routing(routing({"a": 5_000, "b": 3_000, "c": 2_000}), 0)
    before = tables.publish()[0]
    newer = routing({"a": 5_000, "b": 3_000, "c": 2_000}, version=8, rolled_back=("b",))
    tables.take_routing(broken(newer, seed), 0)
    assert tables.publish() == ()
    assert tables.in_force["ranker"] == before
    assert tables.counters["tables_refused"] == 1


def test_generations_rise_with_versions() -> None:
    """Within an epoch a newer version of an older generation is nonsense; a new epoch may."""
    tables = Tables()
    tables.take_routing(routing(), 0)
    tables.take_routing(routing(version=8, generation=1), 0)
    tables.take_routing(routing(version=6, generation=3), 0)
    assert tables.counters["tables_refused"] == 2
    tables.take_routing(routing(epoch=1, version=1, generation=1), 0)
    assert tables.publish()[0].generation == 1


def test_the_breaker_withholds_at_once_and_a_new_generation_tries_again() -> None:
    """A cut needs no publication of what was only half read, and ends with the generation."""
    tables = Tables()
    assert tables.cut("ranker", ["b"]) is None
    tables.take_routing(routing({"a": 5_000, "b": 5_000}), 0)
    tables.publish()
    tables.take_routing(routing({"a": 0, "b": 10_000}, version=8), 0)
    item = tables.cut("ranker", ["b"])
    assert item is not None
    assert (item.version, item.cut, served(tables)) == (7, ("b",), {"a"})
    assert tables.cut("ranker", ["b"]) is None
    assert tables.publish()[0].cut == ("b",)
    tables.take_routing(routing({"a": 0, "b": 10_000}, version=9, generation=3), 0)
    assert tables.publish()[0].cut == ()


def test_rollbacks_remembered_are_bounded() -> None:
    """A flood of made-up names costs bounded memory; the table's own stay."""
    tables = Tables()
    tables.take_control(rollback("b"), 0, 0)
    for i in range(2 * ROLLBACKS_MAX):
        tables.take_control(rollback(f"x{i}"), 0, 0)
    held = tables.publish()[0].rolled_back
    assert len(held) == ROLLBACKS_MAX
    assert "b" in held


def test_what_is_loaded_counts_at_once_and_for_tables_to_come() -> None:
    """Tables in force are made ready anew, later ones with it; all at once, none is half."""
    tables = Tables()
    tables.take_routing(routing({"a": 10_000, "b": 0}, version=1), 0)
    tables.publish()
    new = ("ranker", "v-b")
    tables.load({new})
    assert served(tables) == {"b"}
    tables.take_routing(routing({"a": 10_000, "b": 0}, version=2), 0)
    tables.publish()
    assert served(tables) == {"b"}
    tables.cut("ranker", {"b"})
    assert served(tables) == {"a"}
    before = tables.in_force
    tables.load({new})
    assert tables.in_force is before
    tables.load(None)
    tables.cut("ranker", ())
    assert served(tables) == {"a"}


def test_what_is_loaded_for_one_experiment_is_no_word_about_others() -> None:
    """Each is told of by itself; those that are never named answer with what was told of all."""
    tables = Tables()
    for name in ("ranker", "pricer", "other"):
        tables.take_routing(routing({"a": 10_000, "b": 0}, experiment=name), 0)
    tables.publish()
    new, old = ("ranker", "v-b"), ("ranker", "v-a")
    tables.load({new}, "ranker")
    tables.load({old}, "pricer")
    assert served(tables, "ranker") == {"b"}
    assert served(tables, "pricer") == served(tables, "other") == {"a"}
    tables.load({new})
    assert served(tables, "ranker") == served(tables, "other") == {"b"}
    assert served(tables, "pricer") == {"a"}
    tables.load(None, "pricer")
    assert served(tables, "pricer") == {"b"}
