"""Unit -> bucket -> variant: the one rule that clients in every language follow.

`docs/assignment.md` states it for other languages, `schemas/vectors/assignment.v1.json` and
`rules.v1.json` hold published cases. Pure and light: serving clients import it without numpy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import mmh3

from tidegate.streams.conditions import Attributes, holds
from tidegate.streams.rules import Rules, read_rules, ring_of

if TYPE_CHECKING:
    from tidegate.schemas.events import Routing

BUCKETS = 10_000
"""Number of buckets, and basis points in the whole."""

Unit = str | Mapping[str, Any] | None
"""What is randomised: an id, or ids by kind (`{"user": …, "session": …}`)."""

Artifact = tuple[str, str]
"""(model, version)."""

_NOTHING: Attributes = {}


class Assignment(NamedTuple):
    """Who answers a request, with which probability that was drawn, and why.

    `propensity` is the probability of `variant` among all requests with the same reason, in
    (0, 1]. `reason` is SPLIT, DEFAULT, EXCLUDED, ROLLED_BACK, BREAKER, STALE, OVERRIDE, INSTANCE
    or UNLOADED; only SPLIT is learnt from. `shadow` names the variants that should answer unseen.
    `stale` says that nobody has confirmed the table lately. `unit` is what was hashed: the
    prediction's unit id.
    """

    request_id: str
    variant: str
    propensity: float
    reason: str
    routing_version: int
    epoch: int
    generation: int
    stale: bool
    shadow: tuple[str, ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A routing table made ready for look-ups; `prepare` makes it.

    `owners[bucket]` is the index of the range's variant; `answers[owner]` is what a request
    there gets: variant, propensity, reason. `loaded` names the variants that may answer here and
    are loaded, None when everything is. `shadows` holds (variant, hash prefix, share in bp).
    `rules` say what a unit is called; `restricts`, whether they say anything else.
    """

    routing: Routing
    inclusion_prefix: str
    variant_prefix: str
    inclusion_bp: int
    owners: bytes
    answers: tuple[tuple[str, float, str], ...]
    excluded: tuple[str, float, str]
    shadows: tuple[tuple[str, str, int], ...]
    withheld: frozenset[str]
    rules: Rules
    restricts: bool
    overridden: Mapping[str, tuple[str, float, str]]
    loaded: frozenset[str] | None = None


def bucket(text: str) -> int:
    """Bucket 0..9,999 of a text: the 32-bit murmur3 of its UTF-8, scaled without a modulo.

    >>> bucket("salt:variant:user-42")
    7870
    """
    # Encoded here: mmh3 5 takes a str with a lone surrogate down with the whole process.
    hashed = mmh3.hash(text.encode("utf-8", "surrogatepass"), 0, False)
    return (hashed * BUCKETS) >> 32


def prepare(
    routing: Routing,
    rolled_back: Collection[str] = (),
    cut: Collection[str] = (),
    loaded: Collection[Artifact] | None = None,
) -> Table:
    """The table for look-ups, with variants withheld that must not serve.

    Args:
        routing: a table without faults (`tidegate.streams.routing.faults`).
        rolled_back: variants held at 0 besides those the table names itself.
        cut: variants that this client's breaker has cut.
        loaded: what this instance can answer with, (model, version) each; None: everything.

    What is withheld goes to control with its own reason, so the draw among the others stays a
    fair one: their propensities are shares of what is left. Where a variant is not loaded that
    should answer, another one that is does, by the instance's doing and not by the draw: INSTANCE;
    where none is, control is named although nothing can answer: UNLOADED.
    """
    held = (set(rolled_back) | set(routing.rolled_back)) - {routing.control}
    broken = set(cut) - held - {routing.control}
    shares: dict[str, int] = {}
    owners = bytearray(BUCKETS)
    index = {variant.name: number for number, variant in enumerate(routing.variants)}
    for item in routing.buckets:
        shares[item.variant] = shares.get(item.variant, 0) + item.end - item.start
        owners[item.start : item.end] = bytes([index[item.variant]]) * (item.end - item.start)
    left = sum(share for name, share in shares.items() if name not in held | broken)
    rules = Rules() if routing.rules is None else read_rules(routing.rules)

    able = None if loaded is None else _able(routing, held | broken, loaded)

    def answer(name: str, is_fixed: bool = False) -> tuple[str, float, str]:
        if name in held:
            return _here((routing.control, 1.0, "ROLLED_BACK"), routing.control, able)
        if name in broken:
            return _here((routing.control, 1.0, "BREAKER"), routing.control, able)
        share = shares.get(name, 0) / left if left else 1.0
        drawn = (name, 1.0, "OVERRIDE") if is_fixed else (name, share, "SPLIT")
        return _here(drawn, routing.control, able)

    return Table(
        routing=routing,
        inclusion_prefix=routing.salt + ":inclusion:",
        variant_prefix=routing.salt + ":variant:",
        inclusion_bp=routing.inclusion,
        owners=bytes(owners),
        answers=tuple(answer(variant.name) for variant in routing.variants),
        excluded=_here((routing.control, 1.0, "EXCLUDED"), routing.control, able),
        shadows=tuple(
            (name, f"{routing.salt}:shadow:{name}:", share)
            for name, share in sorted(routing.shadow.items())
            if share > 0 and name not in held | broken and (able is None or name in able)
        ),
        withheld=frozenset(held | broken),
        rules=rules,
        restricts=rules.restricts,
        overridden={item.variant: answer(item.variant, True) for item in rules.overrides},
        loaded=able,
    )


def _able(
    routing: Routing, withheld: Collection[str], loaded: Collection[Artifact]
) -> frozenset[str]:
    """Variants that are loaded and may answer."""
    return frozenset(
        variant.name
        for variant in routing.variants
        if (variant.model, variant.model_version) in loaded and variant.name not in withheld
    )


def _here(
    drawn: tuple[str, float, str], control: str, able: frozenset[str] | None
) -> tuple[str, float, str]:
    """What this instance can make of an answer; control before others, then by name."""
    if able is None or drawn[0] in able:
        return drawn
    if not able:
        return (control, 1.0, "UNLOADED")
    return (control if control in able else min(able), 1.0, "INSTANCE")


def assign(
    table: Table, unit: Unit, request_id: str, stale: bool = False,
    attributes: Attributes | None = None,
) -> Assignment:
    """The variant of `unit` under `table`, and the variants that run in its shadow.

    Two independent hashes decide whether a unit takes part and what it gets, so that raising
    the inclusion never moves a unit between variants. The shadow is sampled by request. Where
    `unit` has ids by kind, the table's rules say which one counts; without any of them, and where
    rules keep a request out, control answers and nothing runs in its shadow.
    """
    routing = table.routing
    name = unit if isinstance(unit, str) else unit_id(table, unit, request_id)
    fixed = None
    if table.restricts or name is None:
        fixed = _fixed(table, name, attributes or _NOTHING)
    if fixed is not None or name is None:
        variant, propensity, reason = fixed or table.excluded
    elif (
        table.inclusion_bp < BUCKETS and bucket(table.inclusion_prefix + name) >= table.inclusion_bp
    ):
        variant, propensity, reason = table.excluded
    else:
        owner = table.owners[bucket(table.variant_prefix + name)]
        variant, propensity, reason = table.answers[owner]
    shadow = () if fixed is not None or not table.shadows else _shadow(table, variant, request_id)
    return Assignment(
        request_id, variant, propensity, reason, routing.version, routing.epoch,
        routing.generation, stale, shadow, name or request_id,
    )


def unit_id(table: Table, unit: Unit, request_id: str) -> str | None:
    """What is hashed for `unit`, and told as the prediction's unit id; None without any id.

    An id of the fallback kind carries the kind's name, so that it is never taken for one of the
    key's. A request without unit is its own.
    """
    if unit is None:
        return request_id
    if isinstance(unit, str):
        return unit
    if not isinstance(unit, Mapping):
        return str(unit)
    key, fallback = table.rules.key, table.rules.fallback
    found = unit.get(key)
    if found is not None and found != "":
        return str(found)
    found = unit.get(fallback)
    return None if found is None or found == "" else f"{fallback}:{found}"


def control_only(
    table: Table, request_id: str, reason: str = "STALE", unit: Unit = None
) -> Assignment:
    """Control, surely: what is left of a table that nobody has confirmed for too long."""
    routing = table.routing
    variant, propensity, why = _here((routing.control, 1.0, reason), routing.control, table.loaded)
    return Assignment(
        request_id, variant, propensity, why, routing.version, routing.epoch, routing.generation,
        True, (), unit_id(table, unit, request_id) or request_id,
    )


def without_table(request_id: str, variant: str, unit: Unit = None) -> Assignment:
    """The caller's default, surely: no table is known, nor which of several ids would count."""
    named = isinstance(unit, str) and unit
    return Assignment(
        request_id, variant, 1.0, "DEFAULT", 0, 0, 0, True, (), named or request_id
    )


def _fixed(
    table: Table, unit: str | None, attributes: Attributes
) -> tuple[str, float, str] | None:
    """The answer to those whom the draw does not concern; None for those who take part."""
    rules = table.rules
    for override in rules.overrides:
        if holds(override.when, attributes):
            return table.overridden[override.variant]
    takes_part = unit is not None and _takes_part(rules, unit, attributes)
    return None if takes_part else table.excluded


def _takes_part(rules: Rules, unit: str, attributes: Attributes) -> bool:
    layer, holdout = rules.layer, rules.holdout
    if layer is not None:
        place = bucket(f"{layer.salt}:layer:{unit}")
        if not any(start <= place < end for start, end in layer.slots):
            return False
    if holdout is not None and bucket(f"{holdout.salt}:holdout:{unit}") < holdout.share_bp:
        return False
    if rules.targeting is not None and not any(
        holds(condition, attributes) for condition in rules.targeting
    ):
        return False
    if rules.rings is None:
        return True
    ring = ring_of(rules.rings, attributes)
    return ring is not None and rules.rings[ring].open


def _shadow(table: Table, variant: str, request_id: str) -> tuple[str, ...]:
    return tuple(
        name
        for name, prefix, share in table.shadows
        if name != variant and (share >= BUCKETS or bucket(prefix + request_id) < share)
    )
