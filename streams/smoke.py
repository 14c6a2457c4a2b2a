"""Is an answer the one that was expected? The first difference in a sentence, or nothing.

Pure and light: instances ask their own model servers, and say what they found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SHOWN_CHARACTERS = 80


def difference(expected: Any, found: Any, tolerance: float = 0.0, name: str = "answer") -> str:
    """Where `found` first differs from `expected`; empty when it does not.

    Numbers may differ by `tolerance`, absolutely; a truth value is no number. Maps may hold more
    than was expected, lists may not. Both are plain JSON values.

    >>> difference({"score": 0.5}, {"score": 0.52, "ms": 3}, 0.1)
    ''
    >>> difference({"items": [1, 2]}, {"items": [1, 3]})
    'answer.items[1] is 3, expected 2'
    """
    if isinstance(expected, Mapping):
        return _in_map(expected, found, tolerance, name)
    if isinstance(expected, list):
        return _in_list(expected, found, tolerance, name)
    if _is_number(expected) and _is_number(found):
        if _is_near(expected, found, tolerance):
            return ""
    elif type(expected) is type(found) and expected == found:
        return ""
    return f"{name} is {_shown(found)}, expected {_shown(expected)}"


def _in_map(expected: Mapping[str, Any], found: Any, tolerance: float, name: str) -> str:
    if not isinstance(found, Mapping):
        return f"{name} is {_shown(found)}, expected a map"
    for key in sorted(expected):
        if key not in found:
            return f"{name}.{key} is missing"
        said = difference(expected[key], found[key], tolerance, f"{name}.{key}")
        if said:
            return said
    return ""


def _in_list(expected: list[Any], found: Any, tolerance: float, name: str) -> str:
    if not isinstance(found, list) or len(found) != len(expected):
        return f"{name} is {_shown(found)}, expected {len(expected)} items"
    for place, (one, other) in enumerate(zip(expected, found, strict=True)):
        said = difference(one, other, tolerance, f"{name}[{place}]")
        if said:
            return said
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_near(expected: float, found: float, tolerance: float) -> bool:
    try:
        return math.isfinite(found) and abs(found - expected) <= tolerance
    except OverflowError:  # JSON has whole numbers that no float can hold
        return expected == found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
