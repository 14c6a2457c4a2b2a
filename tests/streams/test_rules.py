"""Who takes part: the published cases, by our rules and by an oracle; and what is refused whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from tests.streams import rules_oracle
from tests.streams.tables import routing
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import BucketRange, Routing, Variant
from tidegate.streams.assignment import Table, assign, prepare
from tidegate.streams.conditions import holds, read_condition
from tidegate.streams.routing import faults
from tidegate.streams.rules import read_rules

FILE = Path(__file__).parents[2] / "schemas" / "vectors" / "rules.v1.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text("utf-8"))


def published(table: dict[str, Any], **changes: Any) -> Routing:
    """A table of the vector file."""
    values: dict[str, Any] = {
        "control": table["control"],
        "variants": tuple(Variant(name=v, model="m", model_version="1") for v in table["variants"]),
        "buckets": tuple(BucketRange(variant=v, start=s, end=e) for v, s, e in table["buckets"]),
        "inclusion": table["inclusion"], "rolled_back": tuple(table["rolled_back"]),
        "shadow": table["shadow"], "salt": table["salt"], "rules": table["rules"],
    }  # fmt: skip
    return routing(**{**values, **changes})


def test_the_published_cases_are_the_oracles() -> None:
    """The file was not written by what it is held against."""
    assert FILE.read_text("utf-8") == rules_oracle.written()


def test_published_conditions_hold() -> None:
    """Every published condition holds or does not, as it says."""
    assert {case["holds"] for case in VECTORS["conditions"]} == {True, False}
    for case in VECTORS["conditions"]:
        assert holds(read_condition(case["when"]), case["attributes"]) == case["holds"], case


@pytest.mark.parametrize("name", VECTORS["tables"])
def test_published_assignments_hold(name: str) -> None:
    """Every published request gets its variant, propensity, reason and unit."""
    table = published(VECTORS["tables"][name])
    assert not faults(table)
    cases = [case for case in VECTORS["assignments"] if case["table"] == name]
    assert cases
    for case in cases:
        got = assign(
            prepare(table), case["unit"], case["request_id"], attributes=case["attributes"]
        )
        assert (got.variant, got.propensity, got.reason, got.unit) == (
            case["variant"], case["propensity"], case["reason"], case["unit_id"],
        ), case  # fmt: skip


def test_published_cases_cover_every_reason() -> None:
    """Each way to get an answer is among them, often."""
    reasons = [case["reason"] for case in VECTORS["assignments"]]
    assert min(map(reasons.count, ("SPLIT", "EXCLUDED", "OVERRIDE", "ROLLED_BACK"))) >= 5


@pytest.mark.parametrize("text", VECTORS["refused"])
def test_malformed_rules_make_the_table_unusable(text: str) -> None:
    """What is not wholly understood is not obeyed at all."""
    table = published(next(iter(VECTORS["tables"].values())), rules=text)
    assert any("rules" in fault for fault in faults(table))


@pytest.mark.parametrize(
    "text",
    ['{"unit":' * 5_000, "[" * 32_000, json.dumps({"targeting": [[]] * 101}), " " * 40_000 + "{}"],
)
def test_hostile_rules_are_refused(text: str) -> None:
    """Depth, length and number are bounded before anything is believed."""
    with pytest.raises(DefinitionError):
        read_rules(text)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=40))
def test_reading_rules_raises_nothing_else(data: bytes | str) -> None:
    """Whatever stands there, it is read or refused."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    try:
        read_rules(text)
    except DefinitionError:
        return
    assert json.loads(text) == {} or set(json.loads(text)) <= {"unit", "overrides"}


def test_whoever_is_kept_out_answers_in_nobodys_shadow() -> None:
    """A holdout sees nothing of the candidate, not even unseen; who takes part may."""
    table = routing(
        {"a": 10_000, "b": 0}, shadow={"b": 10_000}, rules=json.dumps(rules_oracle.RULES["holdout"])
    )
    drawn = [assign(prepare(table), f"u{number}", "r") for number in range(200)]
    assert {(each.reason, each.shadow) for each in drawn} == {("EXCLUDED", ()), ("SPLIT", ("b",))}


def test_a_holdout_is_the_same_for_every_experiment_that_names_it() -> None:
    """The salt alone decides: nobody takes part in one and is held out of another."""
    rules = json.dumps(rules_oracle.RULES["holdout"])
    one = prepare(routing(salt="one", rules=rules))
    other = prepare(routing(salt="other", rules=rules))
    held = [
        [assign(t, f"u{i}", "r").reason == "EXCLUDED" for i in range(2_000)] for t in (one, other)
    ]
    assert held[0] == held[1]
    assert abs(sum(held[0]) - 1_000) < 4.5 * (2_000 * 0.25) ** 0.5


def test_propensities_of_those_who_take_part_are_true() -> None:
    """Rules keep people out; they do not change the split of those who are in."""
    rules = json.dumps(rules_oracle.RULES["all of them"])
    table = prepare(routing({"a": 7_000, "b": 3_000, "c": 0}, rules=rules.replace("third", "b")))
    drawn = [assign(table, f"u{i}", "r", attributes={"region": "de"}) for i in range(40_000)]
    split = [each for each in drawn if each.reason == "SPLIT"]
    assert 20_000 < len(split) < 35_000
    share = sum(each.variant == "b" for each in split) / len(split)
    assert abs(share - 0.3) < 4.5 * (0.21 / len(split)) ** 0.5
    assert {each.propensity for each in split if each.variant == "b"} == {0.3}


def in_layer(name: str, start: int, end: int, layer: str = "shop") -> Table:
    """An experiment of two halves in a slot of a layer."""
    rules = json.dumps({"layer": {"name": layer, "salt": layer, "slots": [[start, end]]}})
    return prepare(routing({"a": 5_000, "b": 5_000}, salt=name, rules=rules))


def test_two_experiments_of_one_layer_never_share_a_unit() -> None:
    """Whoever takes part in one is kept out of the other, and slots are as wide as they say."""
    one, other = in_layer("one", 0, 3_000), in_layer("two", 3_000, 9_000)
    drawn = [(assign(one, f"u{i}", "r"), assign(other, f"u{i}", "r")) for i in range(20_000)]
    found = Counter((first.reason, second.reason) for first, second in drawn)
    assert found["SPLIT", "SPLIT"] == 0
    assert abs(found["SPLIT", "EXCLUDED"] - 6_000) < 4.5 * (20_000 * 0.21) ** 0.5
    assert abs(found["EXCLUDED", "SPLIT"] - 12_000) < 4.5 * (20_000 * 0.24) ** 0.5


def test_experiments_of_two_layers_are_independent() -> None:
    """Taking part in one says nothing about the other (chi-square, fixed units)."""
    one, other = in_layer("one", 0, 5_000), in_layer("two", 0, 5_000, layer="search")
    found = Counter(
        (assign(one, f"u{i}", "r").reason, assign(other, f"u{i}", "r").reason)
        for i in range(20_000)
    )
    words = ("SPLIT", "EXCLUDED")
    table = [[found[first, second] for second in words] for first in words]
    assert chi2_contingency(table, correction=False).pvalue > 0.001
