"""What a state remembers of guardrails on candidates: since when, which checks, what was told.

Marks name a guardrail by its number in the manifest, so an amended manifest renumbers them: what
was said of one guardrail must not be taken as said of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING

from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.guardrail_reading import Since

if TYPE_CHECKING:
    from tidegate.streams.deciding.experiment import ExperimentState


def mark_of(index: int, candidate: str) -> str:
    """Names a guardrail and a candidate in the state."""
    return f"{index}/{candidate}"


def judge_anew(state: ExperimentState, index: int, candidate: str) -> None:
    """What was counted until now is no evidence of this guardrail on this candidate any more."""
    guardrail = state.spec.guardrails[index]
    limit, counted = guardrail.max or guardrail.min, (0, 0)
    if limit is not None and state.spec.metrics[guardrail.metric].quantile is not None:
        counted = state.ledger.above(guardrail.metric, candidate, limit.value)
    state.judged_from[mark_of(index, candidate)] = Since(state.key, *counted)


def carry_over(state: ExperimentState, before: ExperimentSpec) -> None:
    """Goes on with the guardrails that an amended manifest keeps; new or changed ones begin anew.

    To be called when the ledger has been amended. What a resume has set aside must not come back
    as evidence of a guardrail that only stands elsewhere, or is worded otherwise.
    """
    if state.spec.guardrails == before.guardrails:
        return
    since, checks, told = state.judged_from, state.checks, set(state.told)
    state.judged_from, state.checks = {}, {}
    kept_told = [mark for mark in state.told if mark not in set(_marks(before))]
    for index, guardrail in enumerate(state.spec.guardrails):
        is_kept = guardrail in before.guardrails
        for candidate in state.spec.candidates:
            new = mark_of(index, candidate)
            if not is_kept:
                judge_anew(state, index, candidate)
                continue
            old = mark_of(before.guardrails.index(guardrail), candidate)
            if old in since:
                state.judged_from[new] = since[old]
            if old in checks:
                state.checks[new] = copy(checks[old])
            if old in told:
                kept_told.append(new)
    state.told = kept_told


def _marks(spec: ExperimentSpec) -> Iterator[str]:
    for index in range(len(spec.guardrails)):
        for candidate in spec.candidates:
            yield mark_of(index, candidate)
