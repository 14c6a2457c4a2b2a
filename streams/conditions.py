"""Conditions on what a request says of itself: the tests of `rules`, pure, total, without patterns.

Attributes are texts (region, channel, a header, a risk). A condition is a list of tests that must
all hold; the empty one always does. An attribute that is missing, or no text, never passes a test.
Light: serving clients import it.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate.schemas.errors import DefinitionError

TESTS_MAX: Final = 16
"""Of one condition: as many as a request has attributes."""
VALUES_MAX: Final = 1_000
TEXT_CHARACTERS_MAX: Final = 255

Attributes = Mapping[str, str]

_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TEXTS: Final[Mapping[str, Callable[[str, Any], bool]]] = {
    "equals": lambda found, wanted: found == wanted,
    "prefix": lambda found, wanted: found.startswith(wanted),
    "in": lambda found, wanted: found in wanted,
    "not_in": lambda found, wanted: found not in wanted,
}
TESTS: Final = (*_TEXTS, *_COMPARISONS)
"""The words for a test."""


@dataclass(frozen=True, slots=True)
class AttributeTest:
    """One test: `attribute` against `value`, a text, some texts or a finite number."""

    attribute: str
    test: str
    value: str | float | frozenset[str]

    def holds(self, attributes: Attributes) -> bool:
        """Whether the attributes pass; never raises."""
        found = attributes.get(self.attribute)
        if not isinstance(found, str):
            return False
        compare = _COMPARISONS.get(self.test)
        if compare is None:
            return _TEXTS[self.test](found, self.value)
        number = number_of(found)
        return number is not None and isinstance(self.value, float) and compare(number, self.value)


Condition = tuple[AttributeTest, ...]


def holds(condition: Condition, attributes: Attributes) -> bool:
    """Whether all tests of a condition hold.

    >>> early = read_condition([{"attribute": "risk", "test": "<", "value": 0.3}])
    >>> holds(early, {"risk": "0.25"}), holds(early, {"risk": "high"}), holds(early, {})
    (True, False, False)
    """
    return all(test.holds(attributes) for test in condition)


def number_of(text: str) -> float | None:
    """A text as a number, when it is a plain decimal one that is finite; else None.

    >>> number_of("0.25"), number_of("1e3"), number_of(" 1"), number_of("nan"), number_of("1e999")
    (0.25, 1000.0, None, None, None)
    """
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def read_condition(found: Any) -> Condition:
    """A condition of decoded JSON: a list of `{"attribute", "test", "value"}`.

    Raises:
        DefinitionError: it is none, or has a test that this version does not know.
    """
    if not isinstance(found, list) or len(found) > TESTS_MAX:
        raise DefinitionError(f"a condition is no list of at most {TESTS_MAX} tests")
    return tuple(map(_test, found))


def _test(found: Any) -> AttributeTest:
    if not isinstance(found, dict) or found.keys() != {"attribute", "test", "value"}:
        raise DefinitionError("a test has not exactly attribute, test and value")
    attribute, test, value = found["attribute"], found["test"], found["value"]
    if not _is_text(attribute) or not attribute:
        raise DefinitionError("an attribute has no name")
    if not isinstance(test, str) or test not in TESTS:
        raise DefinitionError(f"the test {test!r:.40} is not known to this version")
    if test in _COMPARISONS:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise DefinitionError(f"{test} is not followed by a number")
        if not abs(value) <= 1e15:
            raise DefinitionError(f"{test} is followed by a number beyond 1e15")
        return AttributeTest(attribute, test, float(value))
    if test not in ("in", "not_in"):
        if not _is_text(value):
            raise DefinitionError(f"{test} is not followed by a text")
        return AttributeTest(attribute, test, value)
    if not _are_texts(value):
        raise DefinitionError(f"{test} is not followed by texts")
    return AttributeTest(attribute, test, frozenset(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= TEXT_CHARACTERS_MAX


def _are_texts(value: Any) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and 0 < len(value) <= VALUES_MAX and all(map(_is_text, value))
