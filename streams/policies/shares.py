"""From probabilities to whole basis points: floors that hold, steps that are capped.

The additive floor is that of Auer, Cesa-Bianchi, Freund, Schapire (2002, EXP3); whole numbers by
the largest remainder (Hamilton; Balinski and Young 1982).
"""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.schemas.canonical import round_significant
from tidegate.schemas.errors import DefinitionError

ALL_BP = 10_000


def with_floor(probabilities: Mapping[str, float], floor_bp: int) -> dict[str, int]:
    """Shares f + (1 - K f) p of K arms, whole basis points, sum 10,000, none below f.

    The floor is added, not cut to: cutting and scaling again would push arms below it.

    Args:
        probabilities: arm -> probability, sum 1.
        floor_bp: the least share of an arm, basis points.

    Raises:
        DefinitionError: the floors together exceed the whole.

    >>> with_floor({"a": 0.985, "b": 0.01, "c": 0.005}, 100)
    {'a': 9655, 'b': 197, 'c': 148}
    """
    left = ALL_BP - floor_bp * len(probabilities)
    if left < 0 or floor_bp < 0:
        raise DefinitionError(
            f"a floor of {floor_bp / 100} % for each of {len(probabilities)} variants is more than"
            " there is; lower the floor"
        )
    parts = whole_parts({name: p * left for name, p in probabilities.items()}, left)
    return {name: floor_bp + part for name, part in parts.items()}


def capped(current: Mapping[str, int], target: Mapping[str, int], most_bp: int) -> dict[str, int]:
    """Goes from `current` towards `target` in a straight line, no share by more than `most_bp`.

    Both sum to 10,000, and so does the result; where both keep a floor, it does too.

    >>> capped({"a": 9000, "b": 1000}, {"a": 1000, "b": 9000}, 2000)
    {'a': 7000, 'b': 3000}
    """
    widest = max(abs(target[name] - current[name]) for name in target)
    if widest <= most_bp:
        return dict(target)
    way = most_bp / widest
    between = {name: current[name] + way * (target[name] - current[name]) for name in target}
    return whole_parts(between, ALL_BP)


def whole_parts(parts: Mapping[str, float], whole: int) -> dict[str, int]:
    """Whole numbers that sum to `whole`, by largest remainder; ties go to the first name.

    Raises:
        ValueError: the parts do not sum to `whole`, or one is negative.
    """
    exact = {name: round_significant(parts[name]) for name in sorted(parts)}
    floors = {name: int(value) for name, value in exact.items()}
    missing = whole - sum(floors.values())
    if not 0 <= missing <= len(floors) or min(floors.values(), default=0) < 0:
        raise ValueError(f"parts {dict(parts)} do not make {whole}")
    by_remainder = sorted(exact, key=lambda name: (floors[name] - exact[name], name))
    for name in by_remainder[:missing]:
        floors[name] += 1
    return floors


def total_variation_bp(left: Mapping[str, int], right: Mapping[str, int]) -> float:
    """How much traffic has another variant under `right` than under `left`, basis points."""
    names = sorted({*left, *right})
    return sum(abs(left.get(name, 0) - right.get(name, 0)) for name in names) / 2
