"""When a release may move by itself: not before its start, and not while it is frozen.

Breaches and people's orders ask nobody here: they act at once. What waits is what evidence alone
would do, by log time: the first share, the next one, other weights, a promotion, and commands
that bring the new version to instances or take the old one away. The way back is never held.
"""

from __future__ import annotations

from tidegate.schemas.manifest.schedule import Schedule
from tidegate.streams.deciding import judging
from tidegate.streams.deciding.experiment import ExperimentState, shares_at
from tidegate.streams.deciding.proposals import Action, Proposal
from tidegate.streams.rollout import Phase, Signal
from tidegate.streams.strategies.base import Verdict
from tidegate.streams.wording import utc

PROGRESS = frozenset({Signal.ADVANCE, Signal.PROMOTE, Signal.WEIGH})

_CHANGING = frozenset({"DEPLOY", "RETIRE", "STOP"})
"""Commands that change what instances serve. START is not held: where the old version has been
stopped already, waiting would be an outage; SMOKE only asks.
"""


def next_move(state: ExperimentState, sight: judging.Sight) -> Proposal | None:
    """What due checks and the running step ask for, as far as the schedule lets it."""
    log_time_ms = sight.log_time_ms
    if state.waits:
        if state.phase not in judging.STEPPING or log_time_ms < starts_ms(state):
            return None
        proposal: Proposal | None = _begin(state)
    else:
        proposal = judging.step(state, sight)
    if proposal is None or not _moves_on(state, proposal):
        return proposal
    frozen = frozen_until(state.spec.schedule, log_time_ms)
    if frozen is None:
        return proposal
    mark = f"frozen/{frozen}"
    if state.held == mark:
        return None
    reason = f"{_said(frozen, log_time_ms)}; then: {proposal.reason}"
    return Proposal(Action.HOLD, reason, verdict=Verdict.NONE, automatic=True, held=mark)


def _moves_on(state: ExperimentState, proposal: Proposal) -> bool:
    changes = any(command.kind in _CHANGING for command in proposal.commands)
    return proposal.signal in PROGRESS or (changes and state.phase is Phase.RUNNING)


def starts_ms(state: ExperimentState) -> int:
    """Log time of the start; 0 without one."""
    schedule = state.spec.schedule
    return 0 if schedule is None else schedule.start_ms or 0


def frozen_until(schedule: Schedule | None, log_time_ms: int) -> int | None:
    """End of the interval in which nothing moves by itself now; None when it may.

    The time itself when nobody has worked out so far ahead.
    """
    if schedule is None:
        return None
    for begins_ms, ends_ms in schedule.frozen or ():
        if begins_ms <= log_time_ms < ends_ms:
            return ends_ms
    known_until_ms = schedule.known_until_ms
    return known_until_ms if known_until_ms is not None and log_time_ms >= known_until_ms else None


def _said(frozen_ms: int, log_time_ms: int) -> str:
    if frozen_ms > log_time_ms:
        return f"frozen until {utc(frozen_ms)} UTC"
    return (
        f"frozen, because weekly windows are worked out until {utc(frozen_ms)} UTC only: apply the"
        " manifest again"
    )


def _begin(state: ExperimentState) -> Proposal:
    starts = starts_ms(state)
    since = f" its start, {utc(starts)} UTC, has come" if starts else " it waits for no start"
    return Proposal(
        Action.ADVANCE,
        f"the release begins:{since}",
        Signal.ADVANCE,
        step=0,
        increment=0,
        automatic=True,
        shares=shares_at(state.spec, state.candidates, state.winner, 0, 0),
    )
