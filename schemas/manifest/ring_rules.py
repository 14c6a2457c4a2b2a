"""What must hold for rings: each can be reached, and at most half of it is risked."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas.manifest.faults import Fault, Path, Unreadable, unread_fields
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.schemas.manifest.step_rules import HIGHEST_CANARY_BP, percent, steps
from tidegate.schemas.manifest.steps import Rings


def ring_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """One list of rings, each with a name of its own and somebody in it."""
    found = list(steps(spec, Rings))
    for index, _ in found[1:]:
        yield Fault(
            ("spec", "release", index, "rings"),
            "a release has rings once",
            "put all rings into one list, in the order they shall start",
        )
    for index, step in found:
        path: Path = ("spec", "release", index, "rings")
        unread = unread_fields(unreadable, "release", index, "rings")
        if "weight" not in unread and step.weight_bp > HIGHEST_CANARY_BP:
            yield Fault(
                (*path, "weight"), f"{percent(step.weight_bp)} is above 50 %", "write 50% or less"
            )
        if "rings" not in unread:
            yield from _each(step, path)


def _each(step: Rings, path: Path) -> Iterator[Fault]:
    names: set[str] = set()
    for number, ring in enumerate(step.rings):
        if ring.name in names:
            yield Fault(
                (*path, "rings", number, "name"),
                f"there are two rings {ring.name}",
                "give each a name of its own",
            )
        names.add(ring.name)
        if not ring.when.tests and number < len(step.rings) - 1:
            yield Fault(
                (*path, "rings", number),
                f"everybody who is left is in {ring.name}, so nobody is in the rings after it",
                "say when: who is meant, or put it last",
            )
