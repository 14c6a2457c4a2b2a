"""Unit -> bucket -> variant: the one rule that clients in every language follow.

`docs/assignment.md` states it for other languages, `schemas/vectors/assignment.v1.json` holds
published cases. Pure and light: serving clients import it without numpy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import mmh3

if TYPE_CHECKING:
    from tidegate.schemas.events import Routing

BUCKETS = 10_000
"""Number of buckets, and basis points in the whole."""

Artifact = tuple[str, str]
"""(model, version)."""


class Assignment(NamedTuple):
    """Who answers a request, with which probability that was drawn, and why.

    `propensity` is the probability of `variant` among all requests with the same reason, in
    (0, 1]. `reason` is SPLIT, DEFAULT, EXCLUDED, ROLLED_BACK, BREAKER, STALE, OVERRIDE, INSTANCE
    or UNLOADED; only SPLIT is learnt from. `shadow` names the variants that should answer unseen.
    `stale` says that nobody has confirmed the table lately.
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


@dataclass(frozen=True, slots=True)
class Table:
    """A routing table made ready for look-ups; `prepare` makes it.

    `owners[bucket]` is the index of the range's variant; `answers[owner]` is what a request
    there gets: variant, propensity, reason. `loaded` names the variants that may answer here and
    are loaded, None when everything is. `shadows` holds (variant, hash prefix, share in bp).
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

    able = None if loaded is None else _able(routing, held | broken, loaded)

    def answer(name: str) -> tuple[str, float, str]:
        if name in held:
            return _here((routing.control, 1.0, "ROLLED_BACK"), routing.control, able)
        if name in broken:
            return _here((routing.control, 1.0, "BREAKER"), routing.control, able)
        share = shares.get(name, 0) / left if left else 1.0
        return _here((name, share, "SPLIT"), routing.control, able)

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


def assign(table: Table, unit: str, request_id: str, stale: bool = False) -> Assignment:
    """The variant of `unit` under `table`, and the variants that run in its shadow.

    Two independent hashes decide whether a unit takes part and what it gets, so that raising
    the inclusion never moves a unit between variants. The shadow is sampled by request.
    """
    routing = table.routing
    if table.inclusion_bp < BUCKETS and bucket(table.inclusion_prefix + unit) >= table.inclusion_bp:
        variant, propensity, reason = table.excluded
    else:
        owner = table.owners[bucket(table.variant_prefix + unit)]
        variant, propensity, reason = table.answers[owner]
    shadow = () if not table.shadows else _shadow(table, variant, request_id)
    return Assignment(
        request_id, variant, propensity, reason, routing.version, routing.epoch,
        routing.generation, stale, shadow,
    )


def control_only(table: Table, request_id: str, reason: str = "STALE") -> Assignment:
    """Control, surely: what is left of a table that nobody has confirmed for too long."""
    routing = table.routing
    variant, propensity, why = _here((routing.control, 1.0, reason), routing.control, table.loaded)
    return Assignment(
        request_id, variant, propensity, why, routing.version, routing.epoch, routing.generation,
        True, (),
    )


def without_table(request_id: str, variant: str) -> Assignment:
    """The caller's default, surely: no table is known."""
    return Assignment(request_id, variant, 1.0, "DEFAULT", 0, 0, 0, True, ())


def _shadow(table: Table, variant: str, request_id: str) -> tuple[str, ...]:
    return tuple(
        name
        for name, prefix, share in table.shadows
        if name != variant and (share >= BUCKETS or bucket(prefix + request_id) < share)
    )
