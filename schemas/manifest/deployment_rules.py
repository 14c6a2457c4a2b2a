"""What must hold for steps that bring a version to instances."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.manifest.deployments import (
    CASES_BYTES_MAX,
    DEPLOYMENTS,
    BlueGreen,
    Rolling,
)
from tidegate.schemas.manifest.faults import Fault, Path, Unreadable, touches, unread_fields
from tidegate.schemas.manifest.spec import ExperimentSpec, Guardrail
from tidegate.schemas.manifest.step_rules import steps
from tidegate.schemas.manifest.steps import Canary, Rings

WHOLE_BP = 10_000


def deployment_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """One new version, other than the old, brought to the instances at the release's end."""
    if ("release",) in unreadable:
        return
    last = len(spec.release) - 1
    for index, step in enumerate(spec.release):
        if not isinstance(step.settings, DEPLOYMENTS):
            continue
        path: Path = ("spec", "release", index, step.strategy)
        if index != last:
            yield Fault(
                path,
                f"{step.strategy} is not the last step",
                "move it to the end; it leaves everything with the new version",
            )
        if touches(unreadable, "variants"):
            continue
        if len(spec.candidates) > 1:
            yield Fault(
                path,
                f"which of {len(spec.candidates)} candidates the instances are to get is unknown",
                "keep one candidate",
            )
        elif _alike(spec):
            yield Fault(
                path,
                "control and the candidate are the same model and version",
                "give the candidate a version of its own; instances tell versions apart by it",
            )


def whole_population_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Nobody is kept from a version that will be the only one that runs."""
    if ("release",) in unreadable:
        return
    names = [item.strategy for item in spec.release if isinstance(item.settings, DEPLOYMENTS)]
    if not names:
        return
    kept_out: list[tuple[Path, str]] = [
        (("spec", word), word)
        for word in ("targeting", "holdout", "layer")
        if getattr(spec, word) is not None
    ]
    if spec.inclusion_bp < WHOLE_BP and ("inclusion",) not in unreadable:
        kept_out.append((("spec", "inclusion"), "inclusion"))
    kept_out += [
        (("spec", "release", index, "rings", "on_breach"), "on_breach: ring")
        for index, rings in steps(spec, Rings)
        if rings.on_breach == "ring"
    ]
    for path, word in kept_out:
        yield Fault(
            path,
            f"{names[-1]} leaves instances with nothing but the new version, so whoever"
            f" {word} keeps out would be served it all the same",
            f"remove {word}, or end the release with full",
        )


def blue_green_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """There is something to ask, and all of it fits into one command."""
    for index, settings in steps(spec, BlueGreen):
        if settings.smoke is None or "smoke" in unread_fields(
            unreadable, "release", index, "blue_green"
        ):
            continue
        if not settings.smoke:
            yield Fault(
                ("spec", "release", index, "blue_green", "smoke"),
                "the new version would meet users unasked",
                "write at least one request with the answer that is expected",
            )
        size = sum(len(canonical_json(case.to_case()).encode()) for case in settings.smoke)
        if size > CASES_BYTES_MAX:
            yield Fault(
                ("spec", "release", index, "blue_green", "smoke"),
                f"{size} bytes of smoke requests are more than a command takes",
                f"keep those below {CASES_BYTES_MAX} bytes that say most",
            )


def rolling_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """A batch is not larger than what may be unavailable, and something is left to compare with."""
    for index, settings in steps(spec, Rolling):
        path: Path = ("spec", "release", index, "rolling")
        unread = unread_fields(unreadable, "release", index, "rolling")
        if "batch" in unread:
            continue
        batch = settings.batch
        if "max_unavailable" not in unread and (
            batch.kind == "count" and batch.value > settings.max_unavailable
        ):
            yield Fault(
                (*path, "batch"),
                f"{batch.value} instances at a time make more than"
                f" {settings.max_unavailable} unavailable",
                f"write {settings.max_unavailable} or less, or raise max_unavailable",
            )
        if batch.kind == "share" and batch.value == 10_000 and _compares(spec):
            yield Fault(
                (*path, "batch"),
                "no instance is left with control, and a guardrail compares with it",
                "write 50% or less, or guardrails with max or min",
            )


def learnt_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """No guardrail makes a step of instances wait for outcomes, which nobody learns there."""
    if ("release",) in unreadable or not any(True for _ in steps(spec, Rolling)):
        return
    for index, guardrail in enumerate(spec.guardrails):
        metric = spec.metrics.get(guardrail.metric)
        if metric is not None and metric.field is None and guardrail.on_breach != "alert":
            yield Fault(
                ("spec", "guardrails", index, "metric"),
                f"rolling would wait for {guardrail.metric} for ever: what comes of requests is"
                " learnt where a draw chose who answers, not where an instance did",
                "guard errors, latency or measures, or write on_breach: alert",
            )


def canary_form_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """A canary of instances is judged by guardrails, and `rolling` takes on what it patched."""
    for index, canary in steps(spec, Canary):
        path: Path = ("spec", "release", index, "canary")
        unread = unread_fields(unreadable, "release", index, "canary")
        if "rolling" in unread or canary.rolling is None:
            continue
        if "min_samples" not in unread and canary.min_samples > 1:
            yield Fault(
                (*path, "min_samples"),
                "what instances serve is counted by the guardrails that judge them",
                "write min_samples in each guardrail instead",
            )
        if not touches(unreadable, "release") and not _goes_on(spec, index + 1):
            yield Fault(
                path,
                "nothing takes on the instances that it patched",
                "put a rolling step directly after it, at the end",
            )
        judges = any(spec.metrics[item.metric].field is not None for item in _judged(spec))
        unknown = touches(unreadable, "guardrails") or touches(unreadable, "metrics")
        if not judges and not unknown:
            yield Fault(
                path,
                "no guardrail compares the patched instances with the others",
                "add a guardrail on errors or latency, which predictions tell themselves",
            )


def _goes_on(spec: ExperimentSpec, index: int) -> bool:
    """Whether a step brings the new version to more instances."""
    if index >= len(spec.release):
        return False
    step = spec.release[index]
    return step.rolling is not None or (step.canary is not None and step.canary.rolling is not None)


def _judged(spec: ExperimentSpec) -> Iterator[Guardrail]:
    return (item for item in spec.guardrails if item.metric in spec.metrics)


def concurrent_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """A guardrail compares with control only where both serve at some time."""
    if ("release",) in unreadable or any(True for _ in steps(spec, Rolling)):
        return
    names = [step.strategy for step in spec.release]
    if not names or names[-1] not in ("blue_green", "recreate") or touches(unreadable, "release"):
        return
    if any(name not in _NEVER_BOTH for name in names):
        return
    for index, guardrail in enumerate(spec.guardrails):
        if guardrail.compare is not None:
            yield Fault(
                ("spec", "guardrails", index, "compare"),
                f"{names[-1]} gives everything to one variant, so there is nothing to compare",
                "write max or min, or put a canary step before it",
            )


_NEVER_BOTH = ("shadow", "approve", "pause", "blue_green", "recreate", "full")
"""Steps in which control and a candidate do not serve users at the same time."""


def _alike(spec: ExperimentSpec) -> bool:
    if spec.control not in spec.variants or not spec.candidates:
        return False
    control, candidate = spec.variants[spec.control], spec.variants[spec.candidates[0]]
    return (control.model, control.version) == (candidate.model, candidate.version)


def _compares(spec: ExperimentSpec) -> bool:
    return any(guardrail.compare is not None for guardrail in spec.guardrails)
