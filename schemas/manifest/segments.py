"""Conditions on a request's attributes, as a manifest writes them: `{region: [de, fr]}`.

Kept as a list of tests that must all hold: what routing tables carry, and every client evaluates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, Strict, ValidationInfo, WithJsonSchema, model_validator

from tidegate.schemas.manifest.types import Model, Text

TESTS_MAX: Final = 16
VALUES_MAX: Final = 1_000
_COMPARISON = re.compile(r"^(<=|<|>=|>)\s*([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)$")
_LOOKS_LIKE_ONE = ("<", ">")
_LISTS = ("in", "not_in")
_TEXTS = ("equals", "prefix")
_COMPARISONS = ("<", "<=", ">", ">=")
_EXAMPLE = 'write {region: [de, fr]}, {channel: web} or {risk: "< 0.3"}'

Value = Annotated[str, Field(max_length=255)]
Values = Annotated[tuple[Value, ...], Strict(False), Field(min_length=1, max_length=VALUES_MAX)]


class AttributeTest(Model):
    """One attribute against a text (`equals`, `prefix`), texts (`in`, `not_in`) or a number."""

    attribute: Text
    test: Literal["equals", "prefix", "in", "not_in", "<", "<=", ">", ">="]
    value: Value | Annotated[float, Field(ge=-1e15, le=1e15)] | Values

    @model_validator(mode="after")
    def _compares_what_it_can(self) -> AttributeTest:
        needed = str if self.test in _TEXTS else tuple if self.test in _LISTS else float
        if not isinstance(self.value, needed):
            raise ValueError(
                f"{self.test} of {self.attribute} cannot take {self.value}; {_EXAMPLE}"
            )
        return self


class Segment(Model):
    """Requests whose attributes pass all tests; without tests, all requests."""

    tests: Annotated[tuple[AttributeTest, ...], Strict(False), Field(max_length=TESTS_MAX)] = ()

    def to_condition(self) -> list[dict[str, Any]]:
        """As routing tables carry it."""
        return [test.model_dump(mode="json") for test in self.tests]


def parse_segment(written: Any) -> dict[str, Any]:
    """A map of attributes, each with a text, a list of texts, a comparison or a map of tests.

    >>> parse_segment({"risk": "< 0.3"})["tests"]
    ({'attribute': 'risk', 'test': '<', 'value': 0.3},)
    """
    if not isinstance(written, Mapping):
        raise ValueError(f"{_shown(written)} is no condition on attributes; {_EXAMPLE}")
    tests = [test for name, value in written.items() for test in _tests(name, value)]
    if len(tests) > TESTS_MAX:
        raise ValueError(f"a condition has more than {TESTS_MAX} tests; write fewer, or lists")
    return {"tests": tuple(tests)}


def _tests(name: str, value: Any) -> list[dict[str, Any]]:
    if isinstance(value, Mapping):
        return [_test(name, word, item) for word, item in value.items()]
    if isinstance(value, list):
        return [_test(name, "in", value)]
    if isinstance(value, str) and value.startswith(_LOOKS_LIKE_ONE):
        found = _COMPARISON.match(value)
        if found is None:
            raise ValueError(
                f'{value} compares {name} with no number; write it as {name}: "< 0.3",'
                f' or {name}: {{equals: "{value}"}}'
            )
        return [_test(name, found[1], float(found[2]))]
    return [_test(name, "equals", value)]


def _test(name: str, word: str, value: Any) -> dict[str, Any]:
    if word in _COMPARISONS:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f'{word} of {name} needs a number; write {name}: {{"{word}": 0.3}}')
        value = float(value)
    elif word in _LISTS:
        if not isinstance(value, list) or not value:
            raise ValueError(f"{word} of {name} needs a list of texts; write {name}: [de, fr]")
        value = tuple(_text(name, item) for item in value)
    elif word in _TEXTS:
        value = _text(name, value)
    else:
        known = ", ".join((*_TEXTS, *_LISTS, *_COMPARISONS))
        raise ValueError(f"{word} of {name} is not a test; write one of {known}")
    return {"attribute": name, "test": word, "value": value}


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        said = str(value).lower() if isinstance(value, bool) else str(value)
        raise ValueError(
            f'{said} of {name} is not text, as attributes are; write it in quotes: "{said}"'
        )
    raise ValueError(f"{_shown(value)} of {name} is not text; {_EXAMPLE}")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "a map" if isinstance(value, dict) else "a list"
    return str(value)


def _segment(value: Any, info: ValidationInfo) -> Any:
    return value if info.mode == "json" else parse_segment(value)


_TEST_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "properties": {
                **{word: {"type": "string"} for word in _TEXTS},
                **{word: {"type": "array", "items": {"type": "string"}} for word in _LISTS},
                **{word: {"type": "number"} for word in _COMPARISONS},
            },
        },
    ]
}
WrittenSegment = Annotated[
    Segment,
    BeforeValidator(_segment),
    WithJsonSchema({
        "type": "object",
        "additionalProperties": _TEST_SCHEMA,
        "examples": [{"region": ["de", "fr"], "risk": "< 0.3"}],
    }),
]  # fmt: skip
