"""Weights -> bucket ranges, moving only the buckets that must move; and what a table must obey.

A unit keeps its variant unless its own variant has to shrink: arms whose weight does not change
keep every bucket, and an arm that grows loses none, so ramps are monotone. Pure and light.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import BucketRange, Routing
from tidegate.streams.assignment import BUCKETS
from tidegate.streams.rules import read_rules

_Run = tuple[str, int, int]
"""Owner, first bucket, and the bucket behind the last."""

VARIANTS_MAX = 255
"""A table's owners are kept as one byte per bucket."""


def allocate(
    weights: Mapping[str, int], previous: Sequence[BucketRange] = ()
) -> tuple[BucketRange, ...]:
    """Ranges that give each variant its weight, as near to `previous` as they can be.

    Args:
        weights: variant -> basis points, sum 10,000; the order of the map does not matter.
        previous: ranges that cover 0..9,999 once, or none: then variants lie in name order.

    Returns:
        Ranges ascending by start that cover 0..9,999 once; neighbours have different variants.

    Raises:
        DefinitionError: a weight is negative or no integer, the sum is not 10,000, or
            `previous` does not cover the buckets.

    >>> before = allocate({"a": 9000, "b": 1000})
    >>> [(item.variant, item.start, item.end) for item in allocate({"a": 8500, "b": 1500}, before)]
    [('a', 0, 8500), ('b', 8500, 10000)]
    """
    _check_weights(weights)
    if not previous:
        names = sorted(weights)
        ends = accumulate(weights[name] for name in names)
        return _ranges(
            (name, end - weights[name], end) for name, end in zip(names, ends, strict=True)
        )
    if _coverage_fault(previous):
        raise DefinitionError("the previous ranges do not cover 0..9,999 once")
    runs = _merged((item.variant, item.start, item.end) for item in previous)
    surplus = {name: -weights.get(name, 0) for name in {name for name, _, _ in runs} | set(weights)}
    for name, start, end in runs:
        surplus[name] += end - start
    names = sorted(surplus)
    for loser in names:
        for gainer in names:
            moved = min(surplus[loser], -surplus[gainer])
            if moved > 0:
                runs = _moved(runs, loser, gainer, moved)
                surplus[loser] -= moved
                surplus[gainer] += moved
    return _ranges(runs)


def weights_of(routing: Routing) -> dict[str, int]:
    """Variant -> basis points for all variants of the table, 0 included."""
    weights = {variant.name: 0 for variant in routing.variants}
    for item in routing.buckets:
        weights[item.variant] += item.end - item.start
    return weights


def faults(routing: Routing) -> tuple[str, ...]:
    """Everything that forbids obeying a table; a table with one fault is refused whole."""
    names = [variant.name for variant in routing.variants]
    known = frozenset(names)
    found: list[str] = []
    if len(known) != len(names) or len(names) > VARIANTS_MAX:
        found.append(f"variants are repeated or more than {VARIANTS_MAX}")
    if routing.control not in known:
        found.append(f"control {routing.control!r} is not among the variants")
    named = {item.variant for item in routing.buckets} | set(routing.shadow)
    found += [f"unknown variant {name!r}" for name in sorted(named - known)]
    coverage = _coverage_fault(routing.buckets)
    if coverage:
        found.append(coverage)
    if not 0 <= routing.inclusion <= BUCKETS:
        found.append(f"inclusion is {routing.inclusion}, not 0 to {BUCKETS}")
    found += [
        f"shadow share of {name!r} is {share}, not 0 to {BUCKETS}"
        for name, share in sorted(routing.shadow.items())
        if not 0 <= share <= BUCKETS
    ]
    found += _rule_faults(routing.rules, known)
    if routing.policy is not None:
        found.append("policies are not known to this version")
    if min(routing.epoch, routing.version, routing.generation) < 0:
        found.append("epoch, version or generation is negative")
    return tuple(found)


def _rule_faults(text: str | None, known: frozenset[str]) -> list[str]:
    """What forbids obeying the rules: they are unsound, or fix a variant that is not there."""
    if text is None:
        return []
    try:
        rules = read_rules(text)
    except DefinitionError as error:
        return [f"unsound rules: {error}"]
    fixed = {override.variant for override in rules.overrides}
    return [f"rules fix unknown variant {name!r}" for name in sorted(fixed - known)]


def _check_weights(weights: Mapping[str, int]) -> None:
    wrong = [
        f"{name}: {weight!r} is not a whole number of basis points, 0 to {BUCKETS}"
        for name, weight in sorted(weights.items())
        if type(weight) is not int or not 0 <= weight <= BUCKETS
    ]
    if not wrong and sum(weights.values()) != BUCKETS:
        wrong.append(f"weights sum to {sum(weights.values())}, not {BUCKETS}")
    if wrong:
        raise DefinitionError("the weights cannot be routed", tuple(wrong))


def _coverage_fault(ranges: Sequence[BucketRange]) -> str:
    expected = 0
    for item in ranges:
        if item.start != expected or item.end <= item.start:
            return f"ranges do not cover the buckets once: {item.start}..{item.end} at {expected}"
        expected = item.end
    return "" if expected == BUCKETS else f"ranges end at {expected}, not {BUCKETS}"


def _ranges(runs: Iterable[_Run]) -> tuple[BucketRange, ...]:
    return tuple(
        BucketRange(variant=name, start=start, end=end) for name, start, end in _merged(runs)
    )


def _merged(runs: Iterable[_Run]) -> list[_Run]:
    """Without empty runs; neighbours with the same owner are one."""
    found: list[_Run] = []
    for name, start, end in runs:
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1], end)
        elif start < end:
            found.append((name, start, end))
    return found


def _moved(runs: list[_Run], loser: str, gainer: str, count: int) -> list[_Run]:
    """`count` of the loser's buckets belong to the gainer, in as few fragments as can be."""
    while count:
        options = []
        for place, (name, start, end) in enumerate(runs):
            if name == loser:
                below = place > 0 and runs[place - 1][0] == gainer
                above = place + 1 < len(runs) and runs[place + 1][0] == gainer
                # Where the gainer's own range begins or ends, a moved border is no new fragment.
                options.append((not (below or above), end - start, start, place, below))
        _, length, start, place, from_start = min(options)
        taken = min(length, count)
        border = start + (taken if from_start else length - taken)
        owners = (gainer, loser) if from_start else (loser, gainer)
        parts = [(owners[0], start, border), (owners[1], border, start + length)]
        runs = _merged([*runs[:place], *parts, *runs[place + 1 :]])
        count -= taken
    return runs
