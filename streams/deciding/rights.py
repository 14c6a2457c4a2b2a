"""Who may do what: people's names and reasons, the roles a manifest asks for, approvals of a step.

Everybody may pause, abort and roll back: what keeps users safe asks for no right.
"""

from __future__ import annotations

from collections.abc import Collection

from tidegate.schemas.events import Control
from tidegate.schemas.manifest.spec import ExperimentSpec, Guardrail
from tidegate.schemas.manifest.steps import Approve
from tidegate.streams.deciding.experiment import ExperimentState
from tidegate.streams.guardrail_reading import SEVERITY
from tidegate.streams.wording import alternatives, listing

_REASONED = frozenset({"PROMOTE", "PAUSE", "RESUME", "ABORT", "RETRY", "APPROVE", "ROLLBACK"})


def unsigned(order: Control) -> str:
    """What an order lacks of name and reason, or nothing."""
    if not order.actor.strip():
        return "nobody's name stands under it"
    if order.action in _REASONED and not order.reason.strip():
        return "it gives no reason"
    return ""


def may_not_promote(state: ExperimentState, order: Control, target: int) -> str:
    """Why an order may not take the release to step `target`, or nothing.

    A promotion that leaves out `approve` steps needs one of the roles of each, and leaves out
    none that needs several people.
    """
    rights = state.spec.rights.promote
    if rights is not None and order.role not in rights:
        return f"promoting needs the role {alternatives(rights)}, and this is {order.role!r}"
    for step in range(max(state.step, 0), min(target, len(state.spec.release))):
        approve = state.spec.release[step].approve
        if approve is not None and order.role not in approve.by:
            return (
                f"step {step + 1} waits for approval by {alternatives(approve.by)}, and this is"
                f" {order.role!r}; use `tidegate approve`, or promote in that role"
            )
        if approve is not None and approve.approvals > 1:
            return (
                f"step {step + 1} waits for approval by {approve.approvals} people, and one cannot"
                " stand for them; use `tidegate approve`"
            )
    return ""


def may_not_loosen(before: ExperimentSpec, after: ExperimentSpec, role: str) -> str:
    """Why a changed manifest may not be applied in this role, or nothing."""
    loose = loosened(before, after)
    rights = before.rights.loosen
    if not loose or rights is None or role in rights:
        return ""
    return f"loosening {listing(loose)} needs the role {alternatives(rights)}, and this is {role!r}"


def loosened(before: ExperimentSpec, after: ExperimentSpec) -> list[str]:
    """What of the guards a changed manifest takes away or weakens, in the manifest's words."""
    found = []
    for guardrail in before.guardrails:
        metric = guardrail.metric
        is_measured_alike = before.metrics.get(metric) == after.metrics.get(metric)
        if not is_measured_alike or not any(
            _is_as_strict(other, guardrail) for other in after.guardrails
        ):
            found.append(f"the guardrail on {metric}")
    if SEVERITY.index(after.on_breaker) > SEVERITY.index(before.on_breaker):
        found.append("on_breaker")
    for word in ("promote", "loosen"):
        held, left = getattr(before.rights, word), getattr(after.rights, word)
        if held is not None and (left is None or not set(left) <= set(held)):
            found.append(f"rights.{word}")
    for step, item in enumerate(before.release):
        if item.approve is not None and not _approved_as_before(item.approve, after, step):
            found.append("the step approve")
    return list(dict.fromkeys(found))


def _approved_as_before(approve: Approve, after: ExperimentSpec, step: int) -> bool:
    left = after.release[step].approve if step < len(after.release) else None
    return left is not None and (
        set(left.by) <= set(approve.by) and left.approvals >= approve.approvals
    )


def _is_as_strict(after: Guardrail, before: Guardrail) -> bool:
    """Whether whatever the one stops, the other stops too, and not more gently."""
    same = (after.metric, after.compare) == (before.metric, before.compare)
    if not same or after.min_samples > before.min_samples or after.alpha < before.alpha:
        return False
    is_gentler = SEVERITY.index(after.on_breach) > SEVERITY.index(before.on_breach)
    if is_gentler or not _acts_as_soon(after, before):
        return False
    if before.worse_by is not None:
        margin = after.worse_by
        return (
            margin is not None
            and margin.kind == before.worse_by.kind
            and margin.value <= before.worse_by.value
        )
    if before.max is not None:
        return after.max is not None and after.max.value <= before.max.value
    if before.min is not None:
        return after.min is not None and after.min.value >= before.min.value
    return True


def _acts_as_soon(after: Guardrail, before: Guardrail) -> bool:
    """Whether no check, and no patience with missing data, delays what was not delayed before."""
    if after.checks not in (None, before.checks):
        return False
    if before.no_data_after_ms is None:
        return True
    return after.no_data_after_ms is not None and after.no_data_after_ms <= before.no_data_after_ms


def not_approvable(state: ExperimentState, order: Control, approve: Approve | None) -> str:
    """Why an approval does not count, or nothing: it is for one generation and one step."""
    if approve is None:
        return f"step {state.step + 1} waits for no approval"
    if order.generation != state.generation:
        return f"an approval names its generation, and this is {state.generation}"
    if order.arguments.get("step") != str(state.step):
        return f"an approval names its step, and the running one is {state.step}"
    if order.role not in approve.by:
        return f"it needs the role {alternatives(approve.by)}, and this is {order.role!r}"
    if order.actor in approved_by(state.approvals):
        return f"{order.actor} has approved already"
    return ""


def approved_by(approvals: Collection[list[str]]) -> list[str]:
    """Names of those who approved the running step."""
    return [actor for actor, _ in approvals]
