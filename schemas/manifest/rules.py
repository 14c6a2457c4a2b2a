"""What must hold between the parts of a spec. Each rule yields its faults; all rules always run.

`unreadable` names the paths (below `spec`) of what was given, or needed, and not understood: a rule
does not blame what refers to it. An entry of which some fields were understood is there, with None
in the place of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tidegate.schemas.manifest.deployment_rules import (
    blue_green_rules,
    canary_form_rules,
    concurrent_rules,
    deployment_rules,
    learnt_rules,
    rolling_rules,
    whole_population_rules,
)
from tidegate.schemas.manifest.faults import (
    Fault,
    Path,
    Unreadable,
    meant,
    touches,
    unread_fields,
)
from tidegate.schemas.manifest.guardrail_rules import guardrail_rules
from tidegate.schemas.manifest.metric_rules import metric_rules
from tidegate.schemas.manifest.population_rules import (
    condition_rules,
    override_rules,
    population_rules,
    schedule_rules,
    unit_rules,
)
from tidegate.schemas.manifest.ring_rules import ring_rules
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.schemas.manifest.step_rules import (
    ab_rules,
    bandit_rules,
    canary_rules,
    flag_rules,
    release_rules,
    shadow_rules,
)

Rule = Callable[[ExperimentSpec, Unreadable], Iterator[Fault]]


def broken_rules(spec: ExperimentSpec, unreadable: Unreadable = frozenset()) -> list[Fault]:
    """Every fault of `spec`, in the order of the rules."""
    return [fault for rule in RULES for fault in rule(spec, unreadable)]


def variant_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Control is a variant, and there is something to compare it with."""
    if touches(unreadable, "variants"):
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
    """The objective is a metric of outcomes; a bandit and a test need one."""
    path: Path = ("spec", "objective")
    if ("objective",) in unreadable or ("metrics",) in unreadable:
        return
    if spec.objective is None:
        for index, step in enumerate(spec.release):
            if step.bandit is None and step.ab is None:
                continue
            yield Fault(
                ("spec", "release", index, step.strategy),
                f"{step.strategy} needs an objective",
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


RULES: tuple[Rule, ...] = (
    variant_rules,
    metric_rules,
    objective_rules,
    guardrail_rules,
    release_rules,
    shadow_rules,
    canary_rules,
    ab_rules,
    bandit_rules,
    ring_rules,
    deployment_rules,
    whole_population_rules,
    blue_green_rules,
    rolling_rules,
    learnt_rules,
    canary_form_rules,
    concurrent_rules,
    flag_rules,
    unit_rules,
    population_rules,
    override_rules,
    condition_rules,
    schedule_rules,
)
