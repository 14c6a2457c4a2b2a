"""People's orders: what a `Control` record asks of an experiment, or why it is refused.

Every order is answered by exactly one decision: the one it caused, or REFUSED. A rollback is
possible in every phase and final for its generation; so it beats a promotion in every order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tidegate.schemas.errors import DefinitionError, EventError
from tidegate.schemas.events import Control
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding import amendment, moves, rights, tables
from tidegate.streams.deciding.experiment import (
    FLAG_STEP,
    ExperimentState,
    all_to,
    shares_at,
)
from tidegate.streams.deciding.memory import HORIZON_MS
from tidegate.streams.deciding.moves import Grounds
from tidegate.streams.deciding.proposals import AWAITED, Action, Proposal, refused
from tidegate.streams.deciding.records import DECIDER_ROLE
from tidegate.streams.rollout import Phase, Signal, is_legal
from tidegate.streams.strategies.flag import set_weights
from tidegate.streams.wording import basis_points, listing


def fault_of(order: Control, generation: int, log_time_ms: int, stamped_ms: int) -> str:
    """Why an order cannot be looked at: expired, or meant for another generation; or nothing.

    `stamped_ms` is the record's Kafka timestamp. Clients know no log time: what they obey by
    themselves, a ROLLBACK that names the running generation, expires here as it does there.
    """
    if order.action == "ROLLBACK" and order.generation == generation:
        if order.expires_at and stamped_ms > order.expires_at:
            return f"it expired {stamped_ms - order.expires_at} ms before it was sent"
        return ""
    if order.expires_at and log_time_ms > order.expires_at:
        return f"it expired {log_time_ms - order.expires_at} ms before it arrived"
    if log_time_ms - order.issued_at > HORIZON_MS:
        return "it was issued more than a day before it arrived"
    if order.generation not in (0, generation):
        return f"it is meant for generation {order.generation}, and {generation} runs"
    return ""


def is_own(order: Control, state: ExperimentState | None) -> bool:
    """Whether a record in the decider's name, longer ago than memory reaches, says nothing new.

    One that withholds a variant we let serve is obeyed like anybody's: clients have done so.
    """
    if state is None or order.role != DECIDER_ROLE:
        return False
    is_past = order.generation != state.generation
    return is_past or order.arguments.get("variant", "") in state.rolled_back


def answer(
    state: ExperimentState, order: Control, log_time_ms: int, stamped_ms: int
) -> Proposal:
    """What the order does to an experiment that exists; REFUSED when it does nothing."""
    fault = fault_of(order, state.generation, log_time_ms, stamped_ms)
    if fault:
        return refused(f"{order.action} refused: {fault}")
    carry_out = ORDERS.get(order.action)
    if carry_out is None:
        known = ", ".join(ORDERS)
        return refused(f"{order.action} is not in this version; known are {known}")
    lacking = rights.unsigned(order)
    # Clients have obeyed the record of a rollback already, whoever wrote it.
    if lacking and order.action != "ROLLBACK":
        return refused(f"{order.action} refused: {lacking}")
    try:
        return carry_out(state, order)
    except (DefinitionError, EventError) as error:
        return refused(f"{order.action} refused: {error}")


def first_apply(order: Control, log_time_ms: int) -> ExperimentSpec | str:
    """The spec of an experiment's first APPLY, or why it is refused."""
    try:
        return _first_spec(order, log_time_ms)
    except EventError as error:
        return f"{order.action} refused: {error.detail}"
    except DefinitionError as error:
        return f"{order.action} refused: {error}"


def _first_spec(order: Control, log_time_ms: int) -> ExperimentSpec:
    fault = fault_of(order, 0, log_time_ms, log_time_ms)
    if fault:
        raise DefinitionError(fault)
    if order.action != "APPLY" or order.spec is None:
        raise DefinitionError(f"{order.experiment} is not known; apply its manifest first")
    lacking = rights.unsigned(order)
    if lacking:
        raise DefinitionError(lacking)
    if order.parent is not None:
        raise DefinitionError("it was written against a manifest, and none was ever applied")
    return _spec_in(order.experiment, order.spec)


def said(order: Control, what: str) -> str:
    """The sentence of an order: what happens, by whom and why."""
    why = f": {order.reason}" if order.reason else ""
    return f"{what} by {order.actor}{why}"


def _spec_in(name: str, text: str) -> ExperimentSpec:
    spec = ExperimentSpec.from_json(text)
    fault = tables.unroutable(name, spec)
    if fault:
        raise DefinitionError(f"clients would refuse its tables: {fault}")
    return spec


def _apply(state: ExperimentState, order: Control) -> Proposal:
    if order.spec is None:
        return refused("APPLY refused: it holds no spec")
    if order.parent != state.spec.digest():
        return refused(
            "APPLY refused: the manifest in force is not the one it was written against;"
            " look at the difference again"
        )
    spec = _spec_in(state.name, order.spec)
    fault = rights.may_not_loosen(state.spec, spec, order.role)
    if fault:
        return refused(f"APPLY refused: {fault}")
    restart = order.arguments.get("restart") == "true"
    return amendment.amend(state, spec, restart, lambda what: said(order, what))


def _set(state: ExperimentState, order: Control) -> Proposal:
    if state.phase is not Phase.FLAG:
        return refused(
            "SET refused: the release decides about the shares; use promote, pause, abort or"
            " rollback"
        )
    weights = set_weights(order.arguments, state.weights, state.control, state.candidates)
    shares = ", ".join(f"{name} {basis_points(share)}" for name, share in sorted(weights.items()))
    return Proposal(
        Action.SET,
        said(order, f"set to {shares}"),
        Signal.SET,
        shares=moves.with_weights(state, weights),
        step=FLAG_STEP,
        increment=0,
    )


def _promote(state: ExperimentState, order: Control) -> Proposal:
    _require(state, Signal.PROMOTE)
    to_next = order.arguments.get("to", "full") == "next"
    target = state.step + 1 if to_next else len(state.spec.release)
    fault = rights.may_not_promote(state, order, target)
    if fault:
        return refused(f"PROMOTE refused: {fault}")
    if to_next:
        return moves.next_step(state, Grounds(said(order, "passed on")))
    candidates = state.candidates
    variant = order.arguments.get("variant") or (candidates[0] if len(candidates) == 1 else "")
    if variant not in candidates:
        return refused(_which(state, "PROMOTE", variant))
    return moves.promote(state, variant, Grounds(said(order, f"{variant} promoted")))


def _pause(state: ExperimentState, order: Control) -> Proposal:
    _require(state, Signal.PAUSE)
    return moves.stop(Grounds(said(order, "paused")))


def _resume(state: ExperimentState, order: Control) -> Proposal:
    _require(state, Signal.RESUME)
    if state.held == AWAITED:
        if state.spec.release[state.step].approve is not None:
            return refused("RESUME refused: the step waits for approval; use `tidegate approve`")
        return moves.next_step(state, Grounds(said(order, "resumed")))
    return Proposal(
        Action.RESUME,
        said(order, "resumed"),
        Signal.RESUME,
        increment=state.increment,
        judged_anew=moves.every_guardrail(state),
    )


def _retry(state: ExperimentState, order: Control) -> Proposal:
    """A paused step begins anew; a release that ended badly begins again, as a new generation."""
    if state.phase is Phase.PAUSED:
        shares = shares_at(state.spec, state.candidates, state.winner, state.step, 0)
        return Proposal(
            Action.RETRY,
            said(order, f"step {state.step + 1} begins anew"),
            Signal.RESUME,
            step=state.step,
            increment=0,
            waits=state.waits,
            shares=None if state.waits else shares,
            judged_anew=moves.every_guardrail(state),
        )
    if state.phase not in (Phase.ABORTED, Phase.ROLLED_BACK):
        return refused(f"RETRY refused: not possible while the experiment is {state.phase}")
    fault = rights.may_not_promote(state, order, 0)
    if not fault and state.spec.layer is not None:
        # Its slots may be somebody else's by now; only `apply` asks the layer.
        fault = f"slots of {state.spec.layer.name} may be allotted otherwise; apply it again"
    if fault:
        return refused(f"RETRY refused: {fault}")
    what = f"the release begins again; generation {state.generation + 1} opens,"
    return replace(amendment.start(state, state.spec, said(order, what)), action=Action.RETRY)


def _approve(state: ExperimentState, order: Control) -> Proposal:
    approve = None if state.step == FLAG_STEP else state.spec.release[state.step].approve
    if state.phase not in (Phase.RUNNING, Phase.PAUSED):
        approve = None
    fault = rights.not_approvable(state, order, approve)
    if fault or approve is None:
        return refused(f"APPROVE refused: {fault}")
    given = len(state.approvals) + 1
    what = f"approved as {order.role}"
    if given < approve.approvals:
        what += f" ({given} of {approve.approvals})"
        approval = (order.actor, order.role)
        return Proposal(Action.APPROVE, said(order, what), approval=approval)
    others = rights.approved_by(state.approvals)
    if others:
        what += f" after {listing(others)}"
    return moves.next_step(state, Grounds(said(order, what)))


def _abort(state: ExperimentState, order: Control) -> Proposal:
    _require(state, Signal.ABORT)
    reason = said(order, f"aborted, {state.control} serves everybody,")
    return Proposal(Action.ABORT, reason, Signal.ABORT, shares=all_to(state.control))


def _rollback(state: ExperimentState, order: Control) -> Proposal:
    candidates = state.candidates
    variant = order.arguments.get("variant") or (candidates[0] if len(candidates) == 1 else "")
    if variant in state.rolled_back:
        # Repeated wishes are fulfilled ones; clients have obeyed the record itself already.
        return Proposal(
            Action.ROLLBACK,
            said(order, f"{variant} was rolled back already; asked again"),
            variant=variant,
        )
    if variant not in candidates:
        return refused(_which(state, "ROLLBACK", variant))
    heir = order.arguments.get("to") or state.control
    what = f"{variant} rolled back"
    if heir == variant or (heir != state.control and heir not in candidates):
        # Clients have obeyed the record: a refusal would be a table that nobody follows.
        what += f" to {state.control}, because {heir} cannot take over,"
        heir = state.control
    return moves.roll_back(state, variant, Grounds(said(order, what)), heir)


def _which(state: ExperimentState, action: str, variant: str) -> str:
    if variant == state.control:
        return f"{action} refused: {variant} is control; use abort to let it serve everybody"
    if variant in state.rolled_back:
        return f"{action} refused: {variant} is rolled back for this generation"
    known = listing(state.candidates) or "none is left"
    if variant:
        return f"{action} refused: {variant} is not a candidate; candidates: {known}"
    return f"{action} refused: name the variant; candidates: {known}"


def _require(state: ExperimentState, signal: Signal) -> None:
    if not is_legal(state.phase, signal):
        raise DefinitionError(f"not possible while the experiment is {state.phase}")


ORDERS: Mapping[str, Callable[[ExperimentState, Control], Proposal]] = {
    "APPLY": _apply,
    "SET": _set,
    "PROMOTE": _promote,
    "PAUSE": _pause,
    "RESUME": _resume,
    "ABORT": _abort,
    "RETRY": _retry,
    "APPROVE": _approve,
    "ROLLBACK": _rollback,
}
