"""Layers: which slots of a layer belong to which experiment, so that no unit is in two of them.

A layer lives in the partition of its name like an experiment. Slots are ranges of the layer's own
buckets; they are allotted by compare-and-set, so of two who want the same only one gets it, and
an experiment that grows keeps what it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tidegate.schemas.canonical import canonical_json, sha256_hex
from tidegate.schemas.decimal_text import whole_number
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import Control
from tidegate.streams.assignment import BUCKETS
from tidegate.streams.wording import basis_points, listing

PHASE: Final = "LAYER"
"""`Decision.phase` of what concerns a layer."""
ACTIONS: Final = ("LAYER", "ALLOT", "RELEASE")
EXPERIMENTS_MAX: Final = 100

Slot = tuple[int, int]


@dataclass(slots=True)
class LayerState:
    """A layer: `slots` of each experiment, ascending and apart. `previous` as of decisions."""

    name: str
    salt: str
    version: int = 0
    slots: dict[str, list[Slot]] = field(default_factory=dict)
    previous: str = ""

    def digest(self) -> str:
        """SHA-256 of what is allotted, hex: what `Control.parent` names."""
        return sha256_hex(canonical_json({"salt": self.salt, "slots": self.slots}))

    def shares(self) -> dict[str, int]:
        """Basis points of each experiment."""
        return {name: width(slots) for name, slots in sorted(self.slots.items())}

    def evidence(self) -> dict[str, Any]:
        """As published with every decision."""
        return {
            "salt": self.salt,
            "slots": self.slots,
            "shares": self.shares(),
            "digest": self.digest(),
        }


def width(slots: list[Slot]) -> int:
    """Basis points of some slots."""
    return sum(end - start for start, end in slots)


def carry_out(state: LayerState | None, order: Control) -> tuple[LayerState, str]:
    """What an order makes of a layer, and the sentence that says so; the given state is unchanged.

    Raises:
        DefinitionError: it is refused, and why.
    """
    if order.action == "LAYER":
        return _declare(state, order)
    if state is None:
        raise DefinitionError(f"{order.experiment} is no layer; apply its manifest first")
    if order.parent != state.digest():
        raise DefinitionError(
            "somebody else has changed the layer meanwhile; look at what is allotted and ask again"
        )
    experiment = order.arguments.get("experiment", "")
    if not experiment:
        raise DefinitionError("no experiment is named")
    if order.action == "RELEASE":
        return _release(state, experiment)
    return _allot(state, experiment, order.arguments.get("share_bp", ""))


def _declare(state: LayerState | None, order: Control) -> tuple[LayerState, str]:
    salt = order.arguments.get("salt") or order.experiment
    if state is None:
        return LayerState(order.experiment, salt, 1), f"layer declared, salt {salt}"
    if salt != state.salt and state.slots:
        raise DefinitionError(
            f"another salt would move the units of {listing(sorted(state.slots))}; release their"
            " slots first"
        )
    found = LayerState(state.name, salt, state.version + 1, state.slots, state.previous)
    return found, f"layer declared again, salt {salt}"


def _allot(state: LayerState, experiment: str, text: str) -> tuple[LayerState, str]:
    share, has = whole_number(text, BUCKETS), width(state.slots.get(experiment, []))
    if not share:
        raise DefinitionError(f"{text:.20} is no share in basis points, 1 to {BUCKETS}")
    if share < has:
        raise DefinitionError(
            f"{experiment} has {basis_points(has)}, and slots in use are not taken away: end it,"
            " release its slots and apply it again"
        )
    free = _free(state)
    if share - has > width(free):
        taken = [f"{name} {basis_points(each)}" for name, each in state.shares().items()]
        raise DefinitionError(
            f"{basis_points(width(free))} of {state.name} is free, and {experiment} asks for"
            f" {basis_points(share - has)} more; allotted: {listing(taken) or 'nothing'}"
        )
    if experiment not in state.slots and len(state.slots) >= EXPERIMENTS_MAX:
        raise DefinitionError(f"{state.name} has {EXPERIMENTS_MAX} experiments; release some")
    slots = merged([*state.slots.get(experiment, []), *_first(free, share - has)])
    found = LayerState(
        state.name, state.salt, state.version + 1, {**state.slots, experiment: slots},
        state.previous,
    )  # fmt: skip
    return found, f"{basis_points(share)} allotted to {experiment}"


def _release(state: LayerState, experiment: str) -> tuple[LayerState, str]:
    if experiment not in state.slots:
        known = listing(sorted(state.slots)) or "none"
        raise DefinitionError(f"{experiment} has no slots of {state.name}; these have: {known}")
    slots = {name: each for name, each in state.slots.items() if name != experiment}
    said = f"{basis_points(width(state.slots[experiment]))} of {experiment} released"
    return LayerState(state.name, state.salt, state.version + 1, slots, state.previous), said


def merged(slots: list[Slot]) -> list[Slot]:
    """The same buckets as ranges that are ascending and apart.

    >>> merged([(5, 9), (0, 3), (3, 5)])
    [(0, 9)]
    """
    found: list[Slot] = []
    for start, end in sorted(slots):
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _free(state: LayerState) -> list[Slot]:
    taken = merged([slot for slots in state.slots.values() for slot in slots])
    edges = [0, *(edge for slot in taken for edge in slot), BUCKETS]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, end) for start, end in pairs if start < end]


def _first(free: list[Slot], wanted: int) -> list[Slot]:
    found = []
    for start, end in free:
        taken = min(wanted, end - start)
        if taken:
            found.append((start, start + taken))
        wanted -= taken
    return found


def to_state(layers: Mapping[str, LayerState]) -> list[Any]:
    """Layers as JSON-able state."""
    return [
        [item.name, item.salt, item.version, item.slots, item.previous]
        for _, item in sorted(layers.items())
    ]


def from_state(found: list[Any]) -> dict[str, LayerState]:
    """The inverse of `to_state`."""
    return {
        name: LayerState(
            name, salt, version,
            {each: [(start, end) for start, end in pairs] for each, pairs in slots.items()},
            previous,
        )
        for name, salt, version, slots, previous in found
    }  # fmt: skip
