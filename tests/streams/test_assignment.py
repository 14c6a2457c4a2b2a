"""Assignment: the published cases, and what they promise."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.streams.tables import routing
from tidegate.schemas.events import BucketRange, Routing, Variant
from tidegate.streams.assignment import (
    Table,
    assign,
    bucket,
    control_only,
    prepare,
    without_table,
)
from tidegate.streams.routing import allocate, faults

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "schemas" / "vectors" / "assignment.v1.json").read_text("utf-8")
)


def murmur3_32(data: bytes) -> int:
    """MurmurHash3 x86 32 of the reference (Appleby, public domain), written out independently."""

    def rotated(value: int, bits: int) -> int:
        return ((value << bits) | (value >> (32 - bits))) & 0xFFFFFFFF

    def mixed(word: int) -> int:
        return rotated(word * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF

    hashed, whole = 0, len(data) // 4 * 4
    for start in range(0, whole, 4):
        hashed ^= mixed(int.from_bytes(data[start : start + 4], "little"))
        hashed = (rotated(hashed, 13) * 5 + 0xE6546B64) & 0xFFFFFFFF
    hashed ^= mixed(int.from_bytes(data[whole:], "little")) if data[whole:] else 0
    hashed ^= len(data)
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return hashed ^ hashed >> 16


def published(name: str) -> Routing:
    """A table of the vector file."""
    table = VECTORS["tables"][name]
    return routing(
        control=table["control"],
        variants=tuple(Variant(name=v, model="m", model_version="1") for v in table["variants"]),
        buckets=tuple(BucketRange(variant=v, start=s, end=e) for v, s, e in table["buckets"]),
        inclusion=table["inclusion"], rolled_back=tuple(table["rolled_back"]),
        shadow=table["shadow"], salt=table["salt"],
    )  # fmt: skip


def test_there_are_enough_published_cases() -> None:
    """At least a hundred lines, among them texts outside ASCII."""
    assert len(VECTORS["buckets"]) + len(VECTORS["assignments"]) >= 100
    assert any(not case["text"].isascii() for case in VECTORS["buckets"])


def test_published_buckets_hold() -> None:
    """Every published text has its bucket, by our hash and by the reference written out."""
    for case in VECTORS["buckets"]:
        assert bucket(case["text"]) == case["bucket"]
        assert murmur3_32(case["text"].encode()) * 10_000 >> 32 == case["bucket"]


@pytest.mark.parametrize("name", VECTORS["tables"])
def test_published_assignments_hold(name: str) -> None:
    """Every published request gets its variant, propensity, reason and shadows."""
    table = published(name)
    assert not faults(table)
    cases = [case for case in VECTORS["assignments"] if case["table"] == name]
    assert cases
    for case in cases:
        got = assign(prepare(table), case["unit"], case["request_id"])
        assert (got.variant, got.propensity, got.reason, list(got.shadow)) == (
            case["variant"], case["propensity"], case["reason"], case["shadow"],
        )  # fmt: skip


@given(st.text())
def test_every_text_has_a_bucket(text: str) -> None:
    """Buckets are 0 to 9,999, whatever the text."""
    assert 0 <= bucket(text) < 10_000


def test_a_lone_surrogate_does_not_take_the_process_down() -> None:
    """A text without UTF-8 gets a bucket like any other."""
    assert 0 <= bucket("unit-\ud800") < 10_000


def test_shares_of_traffic_match_the_weights() -> None:
    """Of 100,000 units each variant gets its share, within 4.5 standard deviations."""
    table = prepare(routing({"a": 7000, "b": 2500, "c": 500}))
    counts = Counter(assign(table, f"unit-{i}", "r").variant for i in range(100_000))
    for name, share in {"a": 0.7, "b": 0.25, "c": 0.05}.items():
        assert abs(counts[name] - 100_000 * share) < 4.5 * (100_000 * share * (1 - share)) ** 0.5


def test_inclusion_and_variant_are_independent() -> None:
    """Among included units every variant has the same share as among all."""
    table = prepare(routing({"a": 5000, "b": 5000, "c": 0}, inclusion=3000))
    included = [assign(table, f"unit-{i}", "r") for i in range(100_000)]
    split = [answer for answer in included if answer.reason == "SPLIT"]
    assert abs(len(split) - 30_000) < 4.5 * (100_000 * 0.3 * 0.7) ** 0.5
    share = sum(answer.variant == "b" for answer in split) / len(split)
    assert abs(share - 0.5) < 4.5 * 0.5 / len(split) ** 0.5


def test_raising_the_inclusion_moves_nobody_between_variants() -> None:
    """A unit that takes part keeps its variant when more units take part."""
    weights = {"a": 5000, "b": 5000, "c": 0}
    few, many = prepare(routing(weights, inclusion=2000)), prepare(routing(weights, inclusion=8000))
    for i in range(5_000):
        before, after = assign(few, f"unit-{i}", "r"), assign(many, f"unit-{i}", "r")
        if before.reason == "SPLIT":
            assert after == before
        else:
            assert (before.variant, before.propensity, before.reason) == ("a", 1.0, "EXCLUDED")


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_ramps_are_monotone(one: int, other: int) -> None:
    """A unit never leaves a candidate whose weight only grows."""
    low, high = sorted((one, other))
    before = allocate({"a": 10_000 - low, "b": low})
    after = allocate({"a": 10_000 - high, "b": high}, before)
    first = prepare(routing({"a": 10_000, "b": 0}, buckets=before))
    second = prepare(routing({"a": 10_000, "b": 0}, buckets=after))
    for i in range(50):
        if assign(first, f"u{i}", "r").variant == "b":
            assert assign(second, f"u{i}", "r").variant == "b"


def test_a_rolled_back_share_goes_to_control_and_the_rest_stays_a_fair_draw() -> None:
    """Withheld units get control under their own reason; propensities are shares of the rest."""
    sound = prepare(routing({"a": 6000, "b": 2000, "c": 2000}))
    held = prepare(routing({"a": 6000, "b": 2000, "c": 2000}), rolled_back=["b"])
    for i in range(2_000):
        before, after = assign(sound, f"u{i}", "r"), assign(held, f"u{i}", "r")
        if before.variant == "b":
            assert (after.variant, after.reason, after.propensity) == ("a", "ROLLED_BACK", 1.0)
        else:
            assert (after.variant, after.reason) == (before.variant, "SPLIT")
            assert after.propensity == {"a": 0.75, "c": 0.25}[after.variant]


def test_what_the_breaker_cut_says_so_and_rollback_wins() -> None:
    """A cut variant's units get control as BREAKER; if it is rolled back too, as ROLLED_BACK."""
    table = routing({"a": 5000, "b": 5000, "c": 0})
    unit = next(u for u in map(str, range(100)) if assign(prepare(table), u, "r").variant == "b")
    assert assign(prepare(table, cut=["b"]), unit, "r").reason == "BREAKER"
    assert assign(prepare(table, ["b"], ["b"]), unit, "r").reason == "ROLLED_BACK"


def test_control_is_never_withheld() -> None:
    """Somebody has to answer: rolling back or cutting control has no effect."""
    table = prepare(routing({"a": 10_000, "b": 0}), rolled_back=["a"], cut=["a"])
    answer = assign(table, "u", "r")
    assert (answer.variant, answer.reason, answer.propensity) == ("a", "SPLIT", 1.0)


def test_shadows_are_sampled_by_request_and_never_shadow_themselves() -> None:
    """The share of requests is right, one unit's requests differ, the answering variant is out."""
    table = prepare(routing({"a": 10_000, "b": 0, "c": 0}, shadow={"a": 10_000, "b": 3_000}))
    shadows = [assign(table, "one-unit", f"r{i}").shadow for i in range(20_000)]
    assert {name for shadow in shadows for name in shadow} == {"b"}
    assert abs(sum(map(bool, shadows)) - 6_000) < 4.5 * (20_000 * 0.3 * 0.7) ** 0.5


def test_a_withheld_variant_runs_in_no_shadow() -> None:
    """Rolled back means not run at all."""
    table = prepare(routing({"a": 10_000, "b": 0}, shadow={"b": 10_000}), rolled_back=["b"])
    assert assign(table, "u", "r").shadow == ()
    assert table.withheld == {"b"}


def test_without_confirmation_control_answers_and_without_table_the_default() -> None:
    """STALE keeps the table's numbers, DEFAULT has none; both are certain and stale."""
    table = prepare(routing({"a": 0, "b": 10_000}))
    stale = control_only(table, "r")
    assert (stale.variant, stale.reason, stale.routing_version) == ("a", "STALE", 7)
    assert stale.stale
    none = without_table("r", "fallback")
    assert (none.variant, none.reason, none.routing_version, none.propensity) == (
        "fallback", "DEFAULT", 0, 1.0,
    )  # fmt: skip


# -- what an instance has loaded

OLD, NEW = ("ranker", "v1"), ("ranker", "v2")


def loaded_table(weights: dict[str, int], loaded: set[tuple[str, str]], **changes: Any) -> Table:
    """A table of variants `a` (v1, control) and `b` (v2) on an instance."""
    variants = (
        Variant(name="a", model="ranker", model_version="v1"),
        Variant(name="b", model="ranker", model_version="v2"),
    )
    held = changes.pop("rolled_back", ())
    cut = changes.pop("cut", ())
    found = routing(weights, variants=variants, **changes)
    return prepare(found, held, cut, loaded)


@pytest.mark.parametrize(
    ("weights", "loaded", "changes", "answers"),
    [
        # the table's choice is loaded: nothing is different
        ({"a": 10_000, "b": 0}, {OLD}, {}, {("a", "SPLIT", 1.0)}),
        ({"a": 5_000, "b": 5_000}, {OLD, NEW}, {}, {("a", "SPLIT", 0.5), ("b", "SPLIT", 0.5)}),
        # it is not: what is loaded answers, by the instance's doing
        ({"a": 10_000, "b": 0}, {NEW}, {}, {("b", "INSTANCE", 1.0)}),
        ({"a": 0, "b": 10_000}, {OLD}, {}, {("a", "INSTANCE", 1.0)}),
        ({"a": 5_000, "b": 5_000}, {OLD}, {}, {("a", "SPLIT", 0.5), ("a", "INSTANCE", 1.0)}),
        # a withheld variant answers nowhere, whatever is loaded
        ({"a": 10_000, "b": 0}, {NEW}, {"rolled_back": ("b",)}, {("a", "UNLOADED", 1.0)}),
        ({"a": 10_000, "b": 0}, {NEW}, {"cut": ("b",)}, {("a", "UNLOADED", 1.0)}),
        ({"a": 0, "b": 10_000}, {OLD}, {"rolled_back": ("b",)}, {("a", "ROLLED_BACK", 1.0)}),
        # nothing is loaded, or another version than the table's
        ({"a": 10_000, "b": 0}, set(), {}, {("a", "UNLOADED", 1.0)}),
        ({"a": 10_000, "b": 0}, {("ranker", "v3")}, {}, {("a", "UNLOADED", 1.0)}),
        # who takes no part gets control where it is loaded
        ({"a": 10_000, "b": 0}, {OLD}, {"inclusion": 0}, {("a", "EXCLUDED", 1.0)}),
        ({"a": 10_000, "b": 0}, {NEW}, {"inclusion": 0}, {("b", "INSTANCE", 1.0)}),
    ],
)
def test_an_instance_answers_with_what_it_has_loaded(
    weights: dict[str, int],
    loaded: set[tuple[str, str]],
    changes: dict[str, Any],
    answers: set[tuple[str, str, float]],
) -> None:
    """Only what is loaded and not withheld answers; the reason tells a draw from an instance."""
    table = loaded_table(weights, loaded, **changes)
    found = [assign(table, f"unit-{number}", "r") for number in range(300)]
    assert {(item.variant, item.reason, item.propensity) for item in found} == answers


def test_a_stale_instance_goes_on_with_what_it_has() -> None:
    """Kafka's absence takes no patched instance down: control is for those who can serve it."""
    patched = control_only(loaded_table({"a": 10_000, "b": 0}, {NEW}), "r")
    assert (patched.variant, patched.reason) == ("b", "INSTANCE")
    other = control_only(loaded_table({"a": 10_000, "b": 0}, {OLD}), "r")
    assert (other.variant, other.reason) == ("a", "STALE")


def test_shadows_that_are_not_loaded_do_not_run() -> None:
    """Nobody asks a model that is not there."""
    shadow = {"shadow": {"b": 10_000}}
    assert assign(loaded_table({"a": 10_000, "b": 0}, {OLD, NEW}, **shadow), "u", "r").shadow
    assert not assign(loaded_table({"a": 10_000, "b": 0}, {OLD}, **shadow), "u", "r").shadow
