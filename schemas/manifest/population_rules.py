"""What must hold for those who take part: somebody does, and what is fixed exists."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.manifest.deployment_rules import WHOLE_BP
from tidegate.schemas.manifest.faults import Fault, Unreadable, meant, touches
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.schemas.manifest.step_rules import steps
from tidegate.schemas.manifest.steps import Rings

CONDITIONS_BYTES_MAX = 31_000
"""Of all conditions as routing tables carry them: clients refuse tables whose rules are longer
than 32,768 letters, and those hold units, a holdout and a layer too.
"""


def population_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Somebody takes part."""
    if spec.inclusion_bp == 0 and ("inclusion",) not in unreadable:
        yield Fault(("spec", "inclusion"), "nobody would take part", "write a share above 0%")
    if spec.holdout is not None and spec.holdout.share_bp >= WHOLE_BP:
        yield Fault(
            ("spec", "holdout", "share"), "nobody would take part", "write a share below 100%"
        )


def schedule_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Only what moves by itself can be frozen."""
    if spec.schedule is not None and spec.flag is not None:
        yield Fault(
            ("spec", "schedule"),
            "a flag is moved by people, at once",
            "remove spec.schedule, or write a release list",
        )


def unit_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """A fallback is another kind of unit."""
    if ("unit",) not in unreadable and spec.unit.fallback == spec.unit.key:
        yield Fault(
            ("spec", "unit", "fallback"),
            f"{spec.unit.key} cannot stand in for itself",
            "name another kind of unit, such as session, or remove fallback",
        )


def override_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """What is fixed for somebody is a variant."""
    if touches(unreadable, "variants"):
        return
    for number, override in enumerate(spec.overrides):
        if override.variant not in spec.variants:
            yield Fault(
                ("spec", "overrides", number, "variant"),
                f"{override.variant} is not a variant",
                meant(override.variant, spec.variants),
            )


def condition_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """A routing table is no list of users."""
    rings = [ring for _, step in steps(spec, Rings) for ring in step.rings or ()]
    carried = [
        *(item.to_condition() for item in spec.targeting or ()),
        *(
            {"when": item.when.to_condition(), "variant": item.variant}
            for item in spec.overrides
            if item.when is not None
        ),
        *({"name": ring.name, "when": ring.when.to_condition(), "open": False} for ring in rings),
    ]
    size = sum(len(canonical_json(item).encode()) + 1 for item in carried)
    if size > CONDITIONS_BYTES_MAX:
        yield Fault(
            ("spec",),
            f"all conditions take {size} bytes, and {CONDITIONS_BYTES_MAX} are possible",
            "let the service pass an attribute that says who is meant, and test that",
        )
