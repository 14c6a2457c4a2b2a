"""What a changed manifest means: the same generation goes on, or a new one opens.

Statistics belong to what they were measured on. Another unit, control, salt, variant or window, or
a metric that is measured otherwise, would mix them; a metric that is added starts empty. A release
whose running step is another one begins anew as well.
"""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding.experiment import (
    FLAG_STEP,
    ExperimentState,
    all_to,
    shares_at,
    strategy_at,
)
from tidegate.streams.deciding.moves import last_increment
from tidegate.streams.deciding.proposals import Action, Proposal
from tidegate.streams.rollout import ENDED, Phase, Signal
from tidegate.streams.strategies.base import Shares
from tidegate.streams.wording import basis_points, listing

_PARTS = (
    "unit",
    "control",
    "salt",
    "variants",
    "metrics",
    "objective",
    "guardrails",
    "on_breaker",
    "release",
    "flag",
    "inclusion_bp",
    "rights",
    "targeting",
    "holdout",
    "overrides",
    "schedule",
    "layer",
)
_MIXING = ("unit", "control", "salt", "variants")

Say = Callable[[str], str]


def amend(state: ExperimentState, spec: ExperimentSpec, restart: bool, say: Say) -> Proposal:
    """The proposal for a changed manifest."""
    changed = changes(state.spec, spec)
    if not changed and not restart:
        return Proposal(Action.APPLY, say("applied again, nothing changed,"))
    why = _new_generation(state, spec, changed, restart)
    told = f"changed: {listing(changed)}" if changed else "unchanged"
    if why:
        what = f"applied ({told}); generation {state.generation + 1} opens, because {why},"
        return start(state, spec, say(what))
    increment, shares = _kept(state, spec)
    return Proposal(
        Action.APPLY,
        say(f"applied ({told}); the statistics go on{_now(shares, 'flag' in changed)},"),
        Signal.AMEND,
        spec=spec,
        increment=increment,
        shares=shares,
    )


def start(state: ExperimentState, spec: ExperimentSpec, reason: str) -> Proposal:
    """A new generation from the first step on, or with control alone until its start."""
    step = 0 if spec.release else FLAG_STEP
    # A release that is nothing but its end promotes the only candidate there can be.
    is_full = strategy_at(spec, step).name == "full"
    winner = spec.candidates[0] if is_full and len(spec.candidates) == 1 else ""
    waits = bool(spec.release) and spec.schedule is not None and spec.schedule.start is not None
    return Proposal(
        Action.APPLY,
        reason,
        Signal.START if spec.release else Signal.START_FLAG,
        step=step,
        increment=0,
        winner=winner,
        spec=spec,
        new_generation=True,
        waits=waits,
        shares=(
            all_to(spec.control)
            if waits
            else shares_at(spec, spec.candidates, winner, step, 0) or all_to(spec.control)
        ),
    )


def changes(before: ExperimentSpec, after: ExperimentSpec) -> list[str]:
    """The parts of the manifest that differ, in the words of the manifest."""
    return [
        name.removesuffix("_bp") for name in _PARTS if getattr(before, name) != getattr(after, name)
    ]


def _new_generation(
    state: ExperimentState, spec: ExperimentSpec, changed: list[str], restart: bool
) -> str:
    if restart:
        return "a restart was asked for"
    if state.phase in ENDED:
        return f"the release before it is {state.phase}"
    mixing = [name for name in changed if name in _MIXING]
    if _measured_otherwise(state.spec, spec):
        mixing.append("metrics")
    if _compared_otherwise(state.spec, spec):
        mixing.append("score_tolerance")
    if state.spec.rings and spec.rings and state.spec.rings != spec.rings:
        mixing.append("rings")
    if mixing:
        return f"statistics of other {listing(mixing)} would be mixed"
    if bool(spec.release) != bool(state.spec.release):
        return "a flag and a release are two things"
    if not _same_step(state, spec):
        return "the running step is another one"
    return ""


def _measured_otherwise(before: ExperimentSpec, after: ExperimentSpec) -> bool:
    kept = before.metrics.keys() & after.metrics.keys()
    changed = any(before.metrics[name] != after.metrics[name] for name in kept)
    return changed or before.reward_wait_ms != after.reward_wait_ms


def _compared_otherwise(before: ExperimentSpec, after: ExperimentSpec) -> bool:
    """Whether what agreed with its shadow may not, or the reverse; nothing was compared before."""
    tolerances = [
        [step.shadow.score_tolerance for step in spec.release if step.shadow is not None]
        for spec in (before, after)
    ]
    return bool(tolerances[0]) and tolerances[0][:1] != tolerances[1][:1]


def _same_step(state: ExperimentState, spec: ExperimentSpec) -> bool:
    if state.step == FLAG_STEP:
        return True
    if state.step >= len(spec.release):
        return False
    earlier = range(state.step + 1)
    return all(
        strategy_at(state.spec, step) is strategy_at(spec, step) for step in earlier
    )


def _now(shares: Shares | None, is_told: bool) -> str:
    if shares is None or not is_told:
        return ""
    told = [f"{name} {basis_points(share)}" for name, share in sorted(shares.weights.items())]
    return f", now {listing(told)}"


def _kept(state: ExperimentState, spec: ExperimentSpec) -> tuple[int | None, Shares | None]:
    """The running increment anew when its settings changed; else all stays as it is.

    A flag whose shares are written otherwise moves to them; else it stays as people set it.
    """
    if state.phase is Phase.FLAG and spec.flag != state.spec.flag:
        return 0, shares_at(spec, state.candidates, "", FLAG_STEP, 0)
    if state.phase not in (Phase.RUNNING, Phase.PAUSED) or state.waits:
        return None, None
    if spec.release[state.step] == state.spec.release[state.step]:
        return None, None
    last = last_increment(spec.release[state.step])
    if state.strategy.back is not None:  # where users are is not undone by another time-out
        last = state.increment
    increment = min(state.increment, last)
    return increment, shares_at(spec, state.candidates, state.winner, state.step, increment)
