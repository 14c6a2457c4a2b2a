"""Who takes part in an experiment, and for whom the answer is fixed: `Routing.rules`.

The rules are JSON, read strictly: what this version does not know, or finds malformed, makes the
whole table unusable, so that nobody follows half of it. `docs/assignment.md` states the form and
the order for other languages. Pure and light: serving clients import it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate.schemas.errors import DefinitionError
from tidegate.streams.conditions import Attributes, Condition, holds, read_condition

SHARE_MAX_BP: Final = 10_000
RULES_CHARACTERS_MAX: Final = 32_768
CONDITIONS_MAX: Final = 100
"""Of each of targeting, rings and overrides."""
TEXT_CHARACTERS_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Layer:
    """Slots of a layer: units outside of them belong to other experiments of the layer."""

    name: str
    salt: str
    slots: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Holdout:
    """Units that take part in nothing that has this salt."""

    salt: str
    share_bp: int


@dataclass(frozen=True, slots=True)
class Ring:
    """A part of the population; a request belongs to the first ring whose condition holds."""

    name: str
    when: Condition
    open: bool


@dataclass(frozen=True, slots=True)
class Override:
    """Requests that get `variant` whatever the draw says."""

    when: Condition
    variant: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What `Routing.rules` says; None, or no overrides: not restricted so.

    `key` and `fallback` name what services pass as unit.
    """

    key: str = ""
    fallback: str = ""
    layer: Layer | None = None
    holdout: Holdout | None = None
    targeting: tuple[Condition, ...] | None = None
    rings: tuple[Ring, ...] | None = None
    overrides: tuple[Override, ...] = ()

    @property
    def restricts(self) -> bool:
        """Whether anything but the name of the unit is said."""
        limits = (self.layer, self.holdout, self.targeting, self.rings)
        return bool(self.overrides) or any(limit is not None for limit in limits)


def read_rules(text: str) -> Rules:
    """The rules in a routing table.

    Raises:
        DefinitionError: they are malformed, or hold what this version does not know.

    >>> read_rules('{"holdout": {"salt": "all", "share_bp": 500}}').holdout
    Holdout(salt='all', share_bp=500)
    """
    if len(text) > RULES_CHARACTERS_MAX:
        raise DefinitionError(f"rules are longer than {RULES_CHARACTERS_MAX} characters")
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DefinitionError("rules are not JSON") from error
    known = ("unit", "layer", "holdout", "targeting", "rings", "overrides")
    _check_map(found, "rules", (), known)
    unit = found.get("unit", {})
    _check_map(unit, "unit", (), ("key", "fallback"))
    return Rules(
        key=_text(unit, "key") if "key" in unit else "",
        fallback=_text(unit, "fallback") if "fallback" in unit else "",
        layer=_layer(found["layer"]) if "layer" in found else None,
        holdout=_holdout(found["holdout"]) if "holdout" in found else None,
        targeting=(
            tuple(map(read_condition, _entries(found["targeting"], "targeting")))
            if "targeting" in found
            else None
        ),
        rings=(tuple(map(_ring, _entries(found["rings"], "rings"))) if "rings" in found else None),
        overrides=tuple(map(_override, _entries(found.get("overrides", []), "overrides"))),
    )


def ring_of(rings: Sequence[Ring], attributes: Attributes) -> int | None:
    """The number of the ring that a request belongs to: the first that matches, or None."""
    for number, ring in enumerate(rings):
        if holds(ring.when, attributes):
            return number
    return None


def _layer(found: Any) -> Layer:
    _check_map(found, "layer", ("name", "salt", "slots"))
    slots, last = [], 0
    for item in _entries(found["slots"], "slots"):
        if (
            not isinstance(item, list)
            or len(item) != 2
            or any(type(edge) is not int for edge in item)
        ):
            raise DefinitionError("a slot is no pair of whole numbers")
        start, end = item
        if not last <= start < end <= SHARE_MAX_BP:
            raise DefinitionError(
                f"the slot {start}..{end} is empty, out of order or out of bounds"
            )
        slots.append((start, end))
        last = end
    return Layer(_text(found, "name"), _text(found, "salt"), tuple(slots))


def _holdout(found: Any) -> Holdout:
    _check_map(found, "holdout", ("salt", "share_bp"))
    share = found["share_bp"]
    if type(share) is not int or not 0 <= share <= SHARE_MAX_BP:
        raise DefinitionError(f"the holdout's share is not 0 to {SHARE_MAX_BP}")
    return Holdout(_text(found, "salt"), share)


def _ring(found: Any) -> Ring:
    _check_map(found, "a ring", ("name", "when", "open"))
    if not isinstance(found["open"], bool):
        raise DefinitionError("a ring is neither open nor closed")
    return Ring(_text(found, "name"), read_condition(found["when"]), found["open"])


def _override(found: Any) -> Override:
    _check_map(found, "an override", ("when", "variant"))
    return Override(read_condition(found["when"]), _text(found, "variant"))


def _check_map(
    found: Any, what: str, needed: Sequence[str], known: Sequence[str] | None = None
) -> None:
    if not isinstance(found, dict):
        raise DefinitionError(f"{what} is no map")
    missing = [name for name in needed if name not in found]
    unknown = [name for name in found if name not in (known or needed)]
    if missing or unknown:
        raise DefinitionError(f"{what}: {(missing or unknown)[0]!r:.40} is missing or not known")


def _entries(found: Any, what: str) -> list[Any]:
    if not isinstance(found, list) or len(found) > CONDITIONS_MAX:
        raise DefinitionError(f"{what} is no list of at most {CONDITIONS_MAX} entries")
    return found


def _text(found: Mapping[str, Any], name: str) -> str:
    text = found[name]
    if not isinstance(text, str) or not 0 < len(text) <= TEXT_CHARACTERS_MAX:
        raise DefinitionError(f"{name} is no text of 1 to {TEXT_CHARACTERS_MAX} characters")
    return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
