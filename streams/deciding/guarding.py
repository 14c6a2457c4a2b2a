"""What guardrails ask for: a breach at once, a check when it is due, missing data when it lasts.

A breach is judged on every batch and never waits. Checks, and data that does not come, are matters
of watermarked time: while a joiner is down nothing is measured again, and nothing is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas.events import Applied
from tidegate.schemas.manifest.spec import ExperimentSpec, Guardrail
from tidegate.streams import guardrails
from tidegate.streams.deciding import moves, rings
from tidegate.streams.deciding.checks import Check
from tidegate.streams.deciding.experiment import ExperimentState
from tidegate.streams.deciding.judged import mark_of
from tidegate.streams.deciding.moves import Grounds
from tidegate.streams.deciding.proposals import Action, Proposal
from tidegate.streams.estimation import Ledger
from tidegate.streams.estimation.plan import watch_of
from tidegate.streams.estimation.strata import Key
from tidegate.streams.guardrail_reading import SEVERITY, Reading, Since
from tidegate.streams.rollout import Phase
from tidegate.streams.strategies.base import Kind, Move, Verdict
from tidegate.streams.wording import count, duration

GUARDED = frozenset({Phase.RUNNING, Phase.PAUSED, Phase.PROMOTED, Phase.FLAG})

_SINCE_EVER = Since()

_Case = tuple[ExperimentSpec, int, str, Ledger, Since]
"""One guardrail and one candidate, as `guardrails.read` takes them."""


def _cases(state: ExperimentState) -> Iterator[_Case]:
    for index in range(len(state.spec.guardrails)):
        for candidate in state.spec.candidates:
            since = state.judged_from.get(mark_of(index, candidate), _SINCE_EVER)
            yield state.spec, index, candidate, state.ledger, since


def readings(state: ExperimentState) -> list[Reading]:
    """Every guardrail for every candidate, rolled back or not."""
    return [guardrails.read(*case) for case in _cases(state)]


def breach(state: ExperimentState) -> Proposal | None:
    """What a failing guardrail asks for; the gravest first, each at most once per increment."""
    if state.phase not in GUARDED:
        return None
    within = rings.breach(state)
    if within is not None:
        return within
    failing, candidates, elsewhere = [], state.candidates, rings.judged_alone(state)
    for case in _cases(state):
        _, index, candidate, _, _ = case
        is_asked = candidate in candidates and index not in elsewhere
        if is_asked and guardrails.may_fail(*case):
            item = guardrails.read(*case)
            if item.verdict is Verdict.FAIL:
                failing.append(item)
    return _gravest(state, failing)


def due(state: ExperimentState, watermark_ms: int) -> Proposal | None:
    """What checks that are due, and data that does not come, ask for at this watermark."""
    if state.phase not in GUARDED:
        return None
    broken = [*_broken_checks(state, watermark_ms), *_missing_too_long(state, watermark_ms)]
    for item in _by_severity(broken):
        proposal = _react(state, item)
        if item.verdict is Verdict.FAIL:
            _count(state, item.guardrail, item.candidate, item.verdict, watermark_ms)
        if proposal is not None:
            return proposal
    return None


def cut(state: ExperimentState, word: Applied) -> Proposal | None:
    """What is to be done about candidates that the client of a word has cut, as `on_breaker` says.

    One client's breaker knows its own process only; so by default a person is told, once per
    increment and candidate, whichever clients say it.
    """
    if state.phase not in GUARDED or word.generation != state.generation:
        return None
    for candidate in sorted({*(word.breaker or ())} & {*state.candidates}):
        mark = f"breaker/{candidate}"
        grounds = Grounds(
            f"client {word.client_id} on {word.instance} has cut {candidate}: its calls kept"
            f" failing there (on_breaker: {state.spec.on_breaker})",
            Verdict.FAIL,
            {"breaker": {"candidate": candidate, "client": word.client_id,
                         "instance": word.instance}},
            automatic=True,
        )  # fmt: skip
        if state.spec.on_breaker == "rollback":
            return moves.roll_back(state, candidate, grounds)
        if state.spec.on_breaker == "pause" and state.phase is Phase.RUNNING:
            return moves.stop(grounds, candidate)
        if mark not in state.told:
            alert = f"breaker/{state.name}/{candidate}"
            return grounds.proposal(Action.HOLD, None, variant=candidate, told=mark, alert=alert)
    return None


def without_data(state: ExperimentState) -> Move | None:
    """Why a step cannot be passed: a guardrail that fails, or has too little data of this step.

    Evidence of the step is what its own tables routed. A guardrail that only tells does not hold
    the release; nor does one about shadows, who answer nobody in a step that serves.
    """
    for item in readings(state):
        is_unseen = state.spec.metrics[item.metric].field == "disagreement"
        if item.candidate not in state.candidates or item.on_breach == "alert" or is_unseen:
            continue
        # What a resume or a closed ring has set aside is no data of this step either.
        since = state.judged_from.get(mark_of(item.guardrail, item.candidate), _SINCE_EVER)
        table = max(since.table, state.first_table)
        move = _withheld(item, state.ledger, table, item.candidate)
        if move is not None:
            return move
    for item in rings.running_readings(state):
        within = state.ledger.rings.by_name[rings.running_ring(state)]
        where = f"{item.candidate} in the ring"
        move = _withheld(item, within, state.first_table, where)
        if move is not None:
            return move
    return None


def _withheld(item: Reading, ledger: Ledger, since: Key, where: str) -> Move | None:
    fresh = int(ledger.moments(item.metric, item.candidate, since).n)
    if fresh < item.min_samples:
        reason = (
            f"guardrail {item.metric} has {count(fresh)} of {count(item.min_samples)}"
            f" requests of {where}: waiting, no data is no success"
        )
        return Move(Kind.HOLD, Verdict.NO_DATA, reason)
    if item.verdict is Verdict.FAIL:
        return Move(Kind.HOLD, Verdict.FAIL, f"waiting: {item.sentence}")
    return None


def _fresh(state: ExperimentState, guardrail: Guardrail, candidate: str) -> float:
    return state.ledger.moments(guardrail.metric, candidate, state.first_table).n


def _broken_checks(state: ExperimentState, watermark_ms: int) -> Iterator[Reading]:
    """Checks that fail once too often count when something is done about them: of two at once the
    other is due until its turn comes."""
    for case in _cases(state):
        _, index, candidate, _, _ = case
        checks = state.spec.guardrails[index].checks
        if checks is None or candidate not in state.candidates:
            continue
        found = state.checks.setdefault(mark_of(index, candidate), Check(state.since_ms))
        if watermark_ms - found.at_ms < checks.every_ms:
            continue
        item = guardrails.read(*case)
        failures, row = found.failures + 1, found.consecutive + 1
        limits = (failures, checks.failures), (row, checks.consecutive)
        is_last = any(limit is not None and number >= limit for number, limit in limits)
        if item.verdict is Verdict.FAIL and is_last:
            said = f"{count(failures)} checks failed, {count(row)} in a row"
            yield item.saying(f"{item.sentence}; {said}")
        else:
            _count(state, index, candidate, item.verdict, watermark_ms)


def _count(
    state: ExperimentState, index: int, candidate: str, verdict: Verdict, watermark_ms: int
) -> None:
    """A check was made: the next one judges what comes from now on."""
    state.ledger.trail(watch_of(state.spec, index, candidate)).cut()
    state.checks[mark_of(index, candidate)].take(verdict, watermark_ms)


def _missing_too_long(state: ExperimentState, watermark_ms: int) -> Iterator[Reading]:
    for case in _cases(state):
        _, index, candidate, _, _ = case
        guardrail = state.spec.guardrails[index]
        after_ms = guardrail.no_data_after_ms
        serves = candidate in state.candidates and state.weights.get(candidate, 0) > 0
        if guardrail.on_no_data == "wait" or after_ms is None or not serves:
            continue
        fresh, held_ms = int(_fresh(state, guardrail, candidate)), watermark_ms - state.since_ms
        if fresh < guardrail.min_samples and held_ms >= after_ms:
            yield guardrails.read(*case).missing(
                f"guardrail {guardrail.metric} has {count(fresh)} of"
                f" {count(guardrail.min_samples)} requests of {candidate} after"
                f" {duration(held_ms)}, which the manifest calls a failure"
                f" (no_data_after {duration(after_ms)})"
            )


def _gravest(state: ExperimentState, failing: list[Reading]) -> Proposal | None:
    for item in _by_severity(failing):
        proposal = _react(state, item)
        if proposal is not None:
            return proposal
    return None


def _by_severity(failing: list[Reading]) -> list[Reading]:
    return sorted(failing, key=lambda item: (SEVERITY.index(item.on_breach), item.guardrail))


def _react(state: ExperimentState, item: Reading) -> Proposal | None:
    evidence = {"breach": item.to_dict()}
    grounds = Grounds(item.sentence, item.verdict, evidence, automatic=True)
    if item.on_breach == "rollback":
        return moves.roll_back(state, item.candidate, grounds)
    if item.on_breach == "step_back":
        return moves.step_back(state, item.candidate, item.guardrail, grounds)
    if item.on_breach == "pause" and state.phase is Phase.RUNNING:
        return moves.stop(grounds, item.candidate)
    mark = mark_of(item.guardrail, item.candidate)
    if mark in state.told or (item.on_breach == "pause" and state.phase is Phase.PAUSED):
        return None
    # A flag, or a promoted variant, cannot pause: the breach is told, once per set of shares.
    alert = f"breach/{state.name}/{mark}" if item.on_breach == "alert" else ""
    return grounds.proposal(Action.HOLD, None, variant=item.candidate, told=mark, alert=alert)
