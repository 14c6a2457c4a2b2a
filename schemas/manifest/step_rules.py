"""What must hold for a release list, and for the settings of each of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from tidegate.schemas.manifest.faults import (
    Fault,
    Path,
    Unreadable,
    meant,
    touches,
    unread_fields,
)
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.schemas.manifest.steps import (
    Ab,
    Bandit,
    Canary,
    Full,
    Settings,
    Shadow,
    ShadowRequire,
)

Chosen = TypeVar("Chosen", bound=Settings)

HIGHEST_CANARY_BP = 5_000


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
    if spec.flag is None and not spec.release and not touches(unreadable, "release"):
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
        moved = moved or step.strategy not in ("shadow", "pause", "approve")
    chooses = any(step.bandit is not None or step.ab is not None for step in spec.release)
    if len(spec.candidates) > 1 and not chooses:
        for index, _ in steps(spec, Full):
            if not touches(unreadable, "release"):
                yield Fault(
                    ("spec", "release", index, "full"),
                    f"which of {len(spec.candidates)} candidates is to get everything is unknown",
                    "put an ab or bandit step before it, or keep one candidate",
                )


def canary_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Canaries stay at half of the traffic or less, and only grow."""
    reached_by: dict[str, int] = {}  # shares of requests and of instances are two things
    for index, canary in steps(spec, Canary):
        reached = reached_by.get(canary.form, 0)
        path: Path = ("spec", "release", index, "canary")
        unread_cap = unread_fields(unreadable, "release", index, "canary")
        unread = unread_cap & {"weight", "weights"}
        yield from _canary_ends(path, canary, unread_cap)
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
            elif share > canary.cap_bp and "cap" not in unread_cap:
                yield Fault(
                    where,
                    f"{percent(share)} is above the cap of {percent(canary.cap_bp)}",
                    f"write {percent(canary.cap_bp)} or less, or say cap: {percent(share)} as well",
                )
            if share <= reached:
                yield Fault(
                    where,
                    f"{percent(share)} is not above the {percent(reached)} before it",
                    "write shares that grow",
                )
            reached = reached_by[canary.form] = max(reached, share)


def _canary_ends(path: Path, canary: Canary, unread: frozenset[str]) -> Iterator[Fault]:
    """The cap is at most half, and time that is over is said to mean something."""
    if "cap" not in unread and canary.cap_bp > HIGHEST_CANARY_BP:
        yield Fault(
            (*path, "cap"),
            f"{percent(canary.cap_bp)} is above 50 %: more than half of the traffic is no canary",
            "write 50% or less",
        )
    if {"max_duration", "on_inconclusive"} & unread:
        return
    if canary.max_duration_ms is not None and canary.on_inconclusive is None:
        yield Fault(
            path,
            "what a share means that could not be passed by max_duration is not said",
            "add on_inconclusive: hold (wait on), fail (stop for a person) or pass (go on)",
        )
    if canary.max_duration_ms is None and canary.on_inconclusive is not None:
        yield Fault(
            (*path, "on_inconclusive"),
            "a share without max_duration is held until it can be passed",
            "add max_duration, or remove on_inconclusive",
        )
    if "hold" not in unread and (canary.max_duration_ms or canary.hold_ms) < canary.hold_ms:
        yield Fault(
            (*path, "max_duration"),
            "it is over before the share was held",
            "write a time of at least hold",
        )


def shadow_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Requirements have their units, and an end that tells nothing is said to mean something."""
    for index, shadow in steps(spec, Shadow):
        path: Path = ("spec", "release", index, "shadow")
        unread = unread_fields(unreadable, "release", index, "shadow")
        if {"require", "on_inconclusive"} & unread:
            continue
        if shadow.require is None:
            if shadow.on_inconclusive is not None:
                yield Fault(
                    (*path, "on_inconclusive"),
                    "nothing is required that could be inconclusive",
                    "add require, or remove on_inconclusive",
                )
            continue
        if shadow.on_inconclusive is None:
            yield Fault(
                path,
                "what a requirement means that is neither surely kept nor broken is not said",
                "add on_inconclusive: hold (compare on), fail (stop for a person) or pass (go on)",
            )
        yield from _requirements((*path, "require"), shadow.require)
        hidden = ("objective",) in unreadable
        if shadow.require.squared_error is not None and spec.objective is None and not hidden:
            yield Fault(
                (*path, "require", "squared_error"),
                "what came of a request is the objective, and there is none",
                "name one of the metrics of outcomes as spec.objective",
            )


def _requirements(path: Path, require: ShadowRequire) -> Iterator[Fault]:
    if not require.model_fields_set:
        yield Fault(path, "it is empty", 'add disagreement: "<= 10%"')
    for word in ("disagreement", "errors"):
        condition = getattr(require, word)
        if condition is not None and (condition.unit == "ms" or not 0 <= condition.value <= 1):
            yield Fault((*path, word), "a share is between 0 and 1", 'write it as "<= 10%"')
    if require.latency is not None and require.latency.unit != "ms":
        yield Fault(
            (*path, "latency"), "a latency needs a unit of time", 'write it as "<= 20ms"'
        )
    if require.score_shift is not None and require.score_shift.unit != "":
        yield Fault(
            (*path, "score_shift"), "scores are plain numbers", 'write it as "<= 0.05"'
        )
    if require.squared_error is not None and require.squared_error.unit != "":
        yield Fault(
            (*path, "squared_error"), "squared errors are plain numbers", 'write it as "<= 0"'
        )
    for word in ("errors", "latency", "score_shift", "squared_error"):
        condition = getattr(require, word)
        if condition is not None and condition.operator not in ("<=", "<"):
            yield Fault((*path, word), "less of it is better", 'write "<=" or "<"')


def ab_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """Shares are of all variants, an effect can be found, and what follows exists."""
    last = len(spec.release) - 1
    for index, ab in steps(spec, Ab):
        path: Path = ("spec", "release", index, "ab")
        unread = unread_fields(unreadable, "release", index, "ab")
        if "weights" not in unread and ab.weights_bp != "equal":
            yield from _whole((*path, "weights"), ab.weights_bp, spec, unreadable)
            missing = sorted(spec.variants.keys() - ab.weights_bp.keys())
            if missing and not touches(unreadable, "variants"):
                yield Fault(
                    (*path, "weights"),
                    f"{', '.join(missing)} has no share",
                    "write the share of every variant",
                )
        if "mde" not in unread and ab.mde.value <= 0.0:
            yield Fault(
                (*path, "mde"),
                "an effect of nothing can never be told from nothing",
                "write the smallest effect that matters, such as 2% or 0.5pp",
            )
        if not unread & {"alpha", "power"} and ab.power <= ab.alpha:
            yield Fault(
                (*path, "power"),
                f"a power of {ab.power:g} is no better than chance at alpha {ab.alpha:g}",
                "write power: 80%",
            )
        if "on_inconclusive" not in unread and ab.on_inconclusive == "pass" and index == last:
            yield Fault(
                (*path, "on_inconclusive"),
                "nothing follows that it could pass to",
                "write control or stop, or add a step",
            )


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
        is_read = not unread & {"min_change", "max_change"}
        if is_read and bandit.max_change_bp < bandit.min_change_bp:
            yield Fault(
                (*path, "max_change"),
                f"{percent(bandit.max_change_bp)} at most and"
                f" {percent(bandit.min_change_bp)} at least: no change is possible",
                f"write {percent(bandit.min_change_bp)} or more, or a smaller min_change",
            )
        if not unread & {"every", "max_duration"} and bandit.every_ms > bandit.max_duration_ms:
            yield Fault(
                (*path, "every"),
                "the first update would come after max_duration",
                "write a shorter time, or a longer max_duration",
            )


def flag_rules(spec: ExperimentSpec, unreadable: Unreadable) -> Iterator[Fault]:
    """A flag's shares name variants and sum to 100 %."""
    if spec.flag is not None and spec.flag.weights_bp:
        yield from _whole(("spec", "flag", "weights"), spec.flag.weights_bp, spec, unreadable)


def _whole(
    path: Path, weights_bp: Mapping[str, int], spec: ExperimentSpec, unreadable: Unreadable
) -> Iterator[Fault]:
    """Only variants have shares, and these sum to 100 %."""
    if not touches(unreadable, "variants"):
        for name in weights_bp:
            if name not in spec.variants:
                yield Fault((*path, name), f"{name} is not a variant", meant(name, spec.variants))
    total = sum(weights_bp.values())
    if total != 10_000:
        yield Fault(path, f"the shares sum to {percent(total)}", "write shares that sum to 100%")


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
