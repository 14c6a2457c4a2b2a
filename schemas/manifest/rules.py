"""What must hold between the parts of a spec. Each rule yields its faults; all rules always run.

`unreadable` names the paths (below `spec`) of what was given, or needed, and not understood: a rule
does not blame what refers to it. An entry of which some fields were understood is there, with None
in the place of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from tidegate.schemas.manifest.faults import Fault, Path, Unreadable, meant, unread_fields
from tidegate.schemas.manifest.guardrail_rules import guardrail_rules
from tidegate.schemas.manifest.metric_rules import metric_rules
from tidegate.schemas.manifest.spec import Bandit, Canary, ExperimentSpec, Full, Shadow

Rule = Callable[[ExperimentSpec, Unreadable], Iterator[Fault]]
Chosen = TypeVar("Chosen", Shadow, Canary, Bandit, Full)

HIGHEST_CANARY_BP = 5_000


def broken_rules(spec: ExperimentSpec, unreadable: Unreadable = frozenset()) -> list[Fault]:
    """Every fault of `spec`, in the order of the rules."""
    return [fault for rule in RULES for fault in rule(spec, unreadable)]


def variant_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Control is a variant, and there is something to compare it with."""
    if _touches(unreadable, "variants"):
        return
    if ("control",) not in unreadable and spec.control not in spec.variants:
        yield Fault(
            ("spec", "control"),
            f"{spec.control} is not a variant",
            meant(spec.control, spec.variants),
        )
    if len(spec.variants) < 2:
        yield Fault(
            ("spec", "variants"),
            "there is nothing to compare control with",
            "declare control and at least one candidate",
        )


def objective_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """The objective is a metric of outcomes; a bandit needs one."""
    path: Path = ("spec", "objective")
    if ("objective",) in unreadable or ("metrics",) in unreadable:
        return
    if spec.objective is None:
        for index, _ in steps(spec, Bandit):
            yield Fault(
                ("spec", "release", index, "bandit"),
                "a bandit needs an objective",
                "name one of the metrics of outcomes as spec.objective",
            )
        return
    hidden = "field" in unread_fields(unreadable, "metrics", spec.objective)
    if hidden or ("metrics", spec.objective) in unreadable:
        return
    metric = spec.metrics.get(spec.objective)
    if metric is None:
        yield Fault(path, f"{spec.objective} is not a metric", meant(spec.objective, spec.metrics))
    elif metric.field is not None:
        outcomes = [name for name, known in spec.metrics.items() if known.field is None]
        yield Fault(
            path,
            f"{spec.objective} is a field of predictions, not an outcome",
            meant(spec.objective, outcomes),
        )


def release_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """A release list or a flag, in an order that makes sense."""
    if ("release",) in unreadable or ("flag",) in unreadable:
        return
    if spec.flag is not None and spec.release:
        yield Fault(
            ("spec", "flag"),
            "a flag is moved by people and has no release list",
            "remove spec.release or spec.flag",
        )
    if spec.flag is None and not spec.release and not _touches(unreadable, "release"):
        yield Fault(
            ("spec",),
            "neither release nor flag is given",
            "add a release list, or flag: {} for an experiment that only people move",
        )
    last = len(spec.release) - 1
    for index, _ in steps(spec, Full):
        if index != last:
            yield Fault(
                ("spec", "release", index, "full"),
                "full is not the last step",
                "move it to the end",
            )
    moved = False
    for index, step in enumerate(spec.release):
        if step.shadow is not None and moved:
            yield Fault(
                ("spec", "release", index, "shadow"),
                "shadow comes after a step that already serves candidates",
                "move it to the front",
            )
        moved = moved or step.shadow is None
    if len(spec.candidates) > 1 and not any(True for _ in steps(spec, Bandit)):
        for index, _ in steps(spec, Full):
            if not _touches(unreadable, "release"):
                yield Fault(
                    ("spec", "release", index, "full"),
                    f"which of {len(spec.candidates)} candidates is to get everything is unknown",
                    "put a bandit step before it, or keep one candidate",
                )


def canary_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Canaries stay at half of the traffic or less, and only grow."""
    reached = 0
    for index, canary in steps(spec, Canary):
        path: Path = ("spec", "release", index, "canary")
        unread = unread_fields(unreadable, "release", index, "canary") & {"weight", "weights"}
        if not unread and (canary.weight_bp is None) == (canary.weights_bp is None):
            yield Fault(
                path,
                "a canary has either weight or weights",
                "write weight: 5%, or weights: [5%, 20%] for several stages",
            )
        for number, share in enumerate(canary.shares_bp):
            where = (*path, "weight") if canary.weights_bp is None else (*path, "weights", number)
            if share > HIGHEST_CANARY_BP:
                yield Fault(where, f"{percent(share)} is above 50 %", "write 50% or less")
            if share <= reached:
                yield Fault(
                    where,
                    f"{percent(share)} is not above the {percent(reached)} before it",
                    "write shares that grow",
                )
            reached = max(reached, share)


def bandit_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Floors leave something to move, and there is time to move it."""
    for index, bandit in steps(spec, Bandit):
        path: Path = ("spec", "release", index, "bandit")
        count = len(spec.variants)
        unread = unread_fields(unreadable, "release", index, "bandit")
        if "floor" not in unread and count and bandit.floor_bp * count >= 10_000:
            yield Fault(
                (*path, "floor"),
                f"{percent(bandit.floor_bp)} for each of {count} variants leaves nothing to move",
                f"write less than {percent(10_000 // count)}",
            )
        if not unread & {"every", "max_duration"} and bandit.every_ms > bandit.max_duration_ms:
            yield Fault(
                (*path, "every"),
                "the first update would come after max_duration",
                "write a shorter time, or a longer max_duration",
            )


def flag_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """A flag's shares name variants and sum to 100 %."""
    if spec.flag is None or not spec.flag.weights_bp:
        return
    weights = spec.flag.weights_bp
    if not _touches(unreadable, "variants"):
        for name in weights:
            if name not in spec.variants:
                yield Fault(
                    ("spec", "flag", "weights", name),
                    f"{name} is not a variant",
                    meant(name, spec.variants),
                )
    total = sum(weights.values())
    if total != 10_000:
        yield Fault(
            ("spec", "flag", "weights"),
            f"the shares sum to {percent(total)}",
            "write shares that sum to 100%",
        )


def population_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Somebody takes part."""
    if spec.inclusion_bp == 0 and ("inclusion",) not in unreadable:
        yield Fault(("spec", "inclusion"), "nobody would take part", "write a share above 0%")


def steps(spec: ExperimentSpec, kind: type[Chosen]) -> Iterator[tuple[int, Chosen]]:
    """The steps of one strategy with their index in the release list."""
    for index, step in enumerate(spec.release):
        if isinstance(step.settings, kind):
            yield index, step.settings


def percent(share_bp: int) -> str:
    """Basis points as people write them.

    >>> percent(500), percent(1225)
    ('5 %', '12.25 %')
    """
    return f"{share_bp / 100:g} %"


def _touches(unreadable: Unreadable, name: str) -> bool:
    """Whether the whole part, or an entry of it, is not known even by name."""
    return any(path[0] == name and len(path) <= 2 for path in unreadable)


RULES: tuple[Rule, ...] = (
    variant_rules,
    metric_rules,
    objective_rules,
    guardrail_rules,
    release_rules,
    canary_rules,
    bandit_rules,
    flag_rules,
    population_rules,
)
