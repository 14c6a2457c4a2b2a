"""Rules of a routing table as docs/assignment.md words them: slow, plain, and another's code.

`python -m tests.streams.rules_oracle > schemas/vectors/rules.v1.json` writes the published cases.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import mmh3

Case = Mapping[str, Any]
Answer = tuple[str, float, str, str]
"""Variant, propensity, reason, unit."""

DIGITS = frozenset("0123456789")


def place(text: str) -> int:
    """Bucket of a text."""
    return mmh3.hash(text.encode(), 0, False) * 10_000 // 2**32


def as_number(text: str) -> float | None:
    """A plain decimal number, sign, fraction and exponent allowed, nothing else."""
    mantissa, letter, exponent = text.replace("E", "e").partition("e")
    whole, dot, fraction = mantissa[mantissa[:1] in ("+", "-") :].partition(".")
    parts = [whole, *([fraction] if dot else [])]
    if letter:
        parts.append(exponent[exponent[:1] in ("+", "-") :])
        if len(parts[-1]) > 3:
            return None
    if not all(part and set(part) <= DIGITS and len(part) <= 30 for part in parts):
        return None
    try:
        value = float(Decimal(text))
    except (InvalidOperation, OverflowError):
        return None
    return value if abs(value) < float("inf") else None


def passes(test: Case, attributes: Mapping[str, str]) -> bool:
    """Whether one test holds."""
    if test["attribute"] not in attributes:
        return False
    found, wanted, word = attributes[test["attribute"]], test["value"], test["test"]
    if word == "equals":
        return bool(found == wanted)
    if word == "prefix":
        return bool(found[: len(wanted)] == wanted)
    if word in ("in", "not_in"):
        return bool((found in list(wanted)) == (word == "in"))
    number = as_number(found)
    if number is None:
        return False
    below, equal = bool(number < wanted), bool(number == wanted)
    return {
        "<": below, "<=": below or equal, ">": not below and not equal, ">=": not below,
    }[word]  # fmt: skip


def matches(condition: Sequence[Case], attributes: Mapping[str, str]) -> bool:
    """Whether a condition holds."""
    return not [test for test in condition if not passes(test, attributes)]


def named(rules: Case, unit: Any, request_id: str) -> str | None:
    """The unit that counts."""
    if unit is None:
        return request_id
    if isinstance(unit, str):
        return unit
    words = rules.get("unit", {})
    if unit.get(words.get("key", "")):
        return str(unit[words["key"]])
    fallback = words.get("fallback", "")
    return f"{fallback}:{unit[fallback]}" if unit.get(fallback) else None


def answer(table: Case, unit: Any, request_id: str, attributes: Mapping[str, str]) -> Answer:
    """What a request gets."""
    rules, control, salt = json.loads(table["rules"]), table["control"], table["salt"]
    name = named(rules, unit, request_id)
    told = request_id if name is None else name
    held = table["rolled_back"]

    def given(variant: str, propensity: float, reason: str) -> Answer:
        if variant in held:
            return control, 1.0, "ROLLED_BACK", told
        return variant, propensity, reason, told

    for override in rules.get("overrides", []):
        if matches(override["when"], attributes):
            return given(override["variant"], 1.0, "OVERRIDE")
    if name is None or not takes_part(rules, name, attributes):
        return control, 1.0, "EXCLUDED", told
    if place(f"{salt}:inclusion:{name}") >= table["inclusion"]:
        return control, 1.0, "EXCLUDED", told
    drawn = place(f"{salt}:variant:{name}")
    owner = next(v for v, start, end in table["buckets"] if start <= drawn < end)
    sizes = dict.fromkeys(table["variants"], 0)
    for variant, start, end in table["buckets"]:
        sizes[variant] += end - start
    left = sum(size for variant, size in sizes.items() if variant not in held)
    return given(owner, sizes[owner] / left, "SPLIT")


def takes_part(rules: Case, name: str, attributes: Mapping[str, str]) -> bool:
    """Whether the rules let a unit in."""
    if "layer" in rules:
        slot = place(f"{rules['layer']['salt']}:layer:{name}")
        if not [1 for start, end in rules["layer"]["slots"] if start <= slot < end]:
            return False
    if "holdout" in rules:
        held_out = place(f"{rules['holdout']['salt']}:holdout:{name}")
        if held_out < rules["holdout"]["share_bp"]:
            return False
    if "targeting" in rules and not [1 for c in rules["targeting"] if matches(c, attributes)]:
        return False
    if "rings" not in rules:
        return True
    own = [ring for ring in rules["rings"] if matches(ring["when"], attributes)]
    return bool(own) and bool(own[0]["open"])


def test_of(attribute: str, word: str, value: Any) -> dict[str, Any]:
    """One test as JSON has it."""
    return {"attribute": attribute, "test": word, "value": value}


EU, US = test_of("region", "in", ["de", "fr"]), test_of("region", "equals", "us")
CALM = test_of("risk", "<", 0.3)
RULES: Mapping[str, Any] = {
    "only the unit's names": {"unit": {"key": "user", "fallback": "session"}},
    "layer": {
        "layer": {"name": "checkout", "salt": "checkout", "slots": [[0, 2000], [9000, 10000]]}
    },
    "holdout": {"holdout": {"salt": "global", "share_bp": 5000}},
    "targeting": {"targeting": [[EU, CALM], [test_of("channel", "prefix", "app-")]]},
    "rings": {
        "rings": [
            {"name": "staff", "when": [test_of("staff", "equals", "yes")], "open": False},
            {"name": "europe", "when": [EU], "open": True},
            {"name": "calm", "when": [CALM], "open": True},
            {"name": "others", "when": [], "open": False},
        ]
    },
    "overrides": {
        "overrides": [
            {"when": [test_of("x-variant", "equals", "challenger")], "variant": "challenger"},
            {"when": [US], "variant": "third"},
        ]
    },
    "all of them": {
        "unit": {"key": "user", "fallback": "session"},
        "layer": {"name": "checkout", "salt": "c", "slots": [[0, 8000]]},
        "holdout": {"salt": "global", "share_bp": 1000},
        "targeting": [[test_of("region", "not_in", ["us"])]],
        "rings": [{"name": "europe", "when": [EU], "open": True}],
        "overrides": [{"when": [test_of("x-variant", "equals", "third")], "variant": "third"}],
    },
}
ATTRIBUTES: tuple[Mapping[str, str], ...] = (
    {},
    {"region": "de"},
    {"region": "fr", "risk": "0.1"},
    {"region": "us"},
    {"region": "de", "risk": "0.9"},
    {"channel": "app-ios"},
    {"x-variant": "challenger"},
    {"x-variant": "third", "region": "us"},
    {"staff": "yes", "region": "de"},
    {"risk": "-1e2"},
    {"risk": "nan"},
)
UNITS: tuple[Any, ...] = (
    "user-1",
    "user-2",
    "用户",
    {"user": "user-1", "session": "s-1"},
    {"session": "s-1"},
    {"user": "", "session": "s-2"},
    {"account": "a"},
    None,
)
CONDITIONS: tuple[tuple[Any, Mapping[str, str]], ...] = (
    ([], {}),
    ([US], {}),
    ([US], {"region": "US"}),
    ([US], {"region": "us"}),
    ([EU], {"region": "d"}),
    ([EU], {"region": "fr"}),
    ([test_of("region", "not_in", ["us"])], {}),
    ([test_of("region", "not_in", ["us"])], {"region": "de"}),
    ([test_of("region", "not_in", ["us"])], {"region": "us"}),
    ([test_of("path", "prefix", "/v2/")], {"path": "/v2/a"}),
    ([test_of("path", "prefix", "")], {"path": ""}),
    ([test_of("path", "prefix", "/v2/")], {"path": "/v"}),
    *(
        ([test_of("n", word, 10)], {"n": text})
        for word in ("<", "<=", ">", ">=")
        for text in (
            "9.99",
            "10",
            "1e1",
            "+10.0",
            "10.01",
            "-3",
            "0x10",
            " 10",
            "10 ",
            "",
            ".5",
            "5.",
            "1_0",
            "inf",
            "NaN",
            "1e999",
            "１０",
            "10e",
            "9e-400",
        )
    ),
    ([US, CALM], {"region": "us", "risk": "0.2"}),
    ([US, CALM], {"region": "us", "risk": "0.3"}),
)
REFUSED: tuple[str, ...] = (
    "",
    "null",
    "[]",
    '"a"',
    "{",
    '{"a": 1}',
    '{"layer": null}',
    '{"layer": {"name": "l", "salt": "s"}}',
    '{"layer": {"name": "l", "salt": "s", "slots": [[5, 5]]}}',
    '{"layer": {"name": "l", "salt": "s", "slots": [[0, 10001]]}}',
    '{"layer": {"name": "l", "salt": "s", "slots": [[5, 9], [0, 4]]}}',
    '{"layer": {"name": "l", "salt": "s", "slots": [[0.0, 4]]}}',
    '{"holdout": {"salt": "s", "share_bp": 10001}}',
    '{"holdout": {"salt": "", "share_bp": 1}}',
    '{"holdout": {"salt": "s", "share_bp": true}}',
    '{"holdout": {"salt": "s", "share_bp": 1}, "holdout": {"salt": "s", "share_bp": 2}}',
    '{"targeting": [{"region": "de"}]}',
    '{"targeting": {}}',
    '{"targeting": [[{"attribute": "a", "test": "matches", "value": ".*"}]]}',
    '{"targeting": [[{"attribute": "a", "test": "<", "value": "1"}]]}',
    '{"targeting": [[{"attribute": "a", "test": "<", "value": NaN}]]}',
    '{"targeting": [[{"attribute": "a", "test": "in", "value": []}]]}',
    '{"targeting": [[{"attribute": "a", "test": "equals", "value": 1}]]}',
    '{"targeting": [[{"attribute": "", "test": "equals", "value": "1"}]]}',
    '{"targeting": [[{"attribute": "a", "test": "equals", "value": "1", "not": true}]]}',
    '{"rings": [{"name": "a", "when": []}]}',
    '{"rings": [{"name": "a", "when": [], "open": 1}]}',
    '{"overrides": [{"when": [], "variant": "nobody"}]}',
    '{"unit": {"name": "user"}}',
)


def published() -> dict[str, Any]:
    """All cases."""
    plain = {
        "control": "champion", "variants": ["champion", "challenger", "third"], "inclusion": 9000,
        "buckets": [["challenger", 0, 2000], ["champion", 2000, 9000], ["third", 9000, 10000]],
        "salt": "click-ranker", "shadow": {},
    }  # fmt: skip
    tables = {
        name: {**plain, "rolled_back": [], "rules": json.dumps(rules)}
        for name, rules in RULES.items()
    }
    tables["overridden to what is rolled back"] = {
        **plain, "rolled_back": ["third"], "rules": json.dumps(RULES["overrides"]),
    }  # fmt: skip
    cases = []
    for name, table in tables.items():
        for row, unit in enumerate(UNITS):
            for number, attributes in enumerate(ATTRIBUTES):
                if (row + number) % 3 and name != "all of them":
                    continue
                request_id = f"request-{number}"
                variant, propensity, reason, told = answer(table, unit, request_id, attributes)
                cases.append({
                    "table": name, "unit": unit, "attributes": attributes, "request_id": request_id,
                    "variant": variant, "propensity": propensity, "reason": reason, "unit_id": told,
                })  # fmt: skip
    return {
        "version": 1,
        "about": "docs/assignment.md says how to use these cases; texts are UTF-8.",
        "conditions": [
            {"when": when, "attributes": attributes, "holds": matches(when, attributes)}
            for when, attributes in CONDITIONS
        ],
        "tables": tables,
        "assignments": cases,
        "refused": list(REFUSED),
    }


def written() -> str:
    """The file: one case a line."""
    parts = []
    for key, value in published().items():
        items = (
            [f"{json.dumps(name)}: {_line(item)}" for name, item in value.items()]
            if isinstance(value, dict)
            else [_line(item) for item in value]
            if isinstance(value, list)
            else None
        )
        brackets = "{}" if isinstance(value, dict) else "[]"
        inner = (
            _line(value)
            if items is None
            else brackets[0] + "\n" + ",\n".join(items) + "\n" + brackets[1]
        )
        parts.append(f"{json.dumps(key)}: {inner}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(written())
