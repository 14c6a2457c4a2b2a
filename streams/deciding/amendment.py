"""What a changed manifest means: the same generation goes on, or a new one opens.

Statistics belong to what they were measured on. A change of the unit, control, the variants, the
metrics or the salt would mix them, and so would a release whose running step is another one.
"""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding.experiment import FLAG_STEP, ExperimentState, shares_at, strategy_at
from tidegate.streams.deciding.proposals import Action, Proposal
from tidegate.streams.rollout import ENDED, Phase, Signal
from tidegate.streams.strategies.base import Shares
from tidegate.streams.wording import listing

_MIXING = ("unit", "control", "variants", "metrics", "salt")
_KEEPING = ("objective", "guardrails", "release", "flag", "inclusion_bp")

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
    return Proposal(
        Action.APPLY, say(f"applied ({told}); the statistics go on,"), Signal.AMEND, spec=spec,
        **_kept(state, spec),
    )  # fmt: skip


def start(state: ExperimentState, spec: ExperimentSpec, reason: str) -> Proposal:
    """A new generation from the first step on."""
    step = 0 if spec.release else FLAG_STEP
    return Proposal(
        Action.APPLY, reason, Signal.START if spec.release else Signal.START_FLAG, step=step,
        increment=0, winner="", spec=spec, new_generation=True,
        shares=shares_at(spec, spec.candidates, "", step, 0),
    )  # fmt: skip


def changes(before: ExperimentSpec, after: ExperimentSpec) -> list[str]:
    """The parts of the manifest that differ, in the words of the manifest."""
    return [
        name.removesuffix("_bp")
        for name in (*_MIXING, *_KEEPING)
        if getattr(before, name) != getattr(after, name)
    ]


def _new_generation(
    state: ExperimentState, spec: ExperimentSpec, changed: list[str], restart: bool
) -> str:
    if restart:
        return "a restart was asked for"
    if state.phase in ENDED:
        return f"the release before it is {state.phase}"
    mixing = [name for name in changed if name in _MIXING]
    if mixing:
        return f"statistics of other {listing(mixing)} would be mixed"
    if bool(spec.release) != bool(state.spec.release):
        return "a flag and a release are two things"
    if not _same_step(state, spec):
        return "the running step is another one"
    return ""


def _same_step(state: ExperimentState, spec: ExperimentSpec) -> bool:
    if state.step == FLAG_STEP:
        return True
    if state.step >= len(spec.release):
        return False
    earlier = range(state.step + 1)
    return all(
        strategy_at(state.spec, step).name == strategy_at(spec, step).name for step in earlier
    )


def _kept(state: ExperimentState, spec: ExperimentSpec) -> dict[str, object]:
    """Where an amended release stands: its increment again when the running step is another."""
    if state.phase is Phase.FLAG or state.phase is Phase.PROMOTED:
        return {}
    if spec.release[state.step] == state.spec.release[state.step]:
        return {}
    settings = spec.release[state.step].canary
    last = len(settings.shares_bp) - 1 if settings is not None else 0
    increment = min(state.increment, last)
    shares: Shares = shares_at(spec, state.candidates, state.winner, state.step, increment)
    return {"increment": increment, "shares": shares}
