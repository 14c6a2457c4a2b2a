"""Invariants of what needs a person: approvals, and how often what was seen."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.simulation.invariants import hold
from tests.simulation.world import World
from tidegate.schemas.events import Control, Decision
from tidegate.schemas.manifest.spec import ExperimentSpec


def check_approvals(
    world: World, chain: Sequence[tuple[Decision, Control | None]]
) -> None:
    """I24, over all decisions of an experiment, each with the order that it answers."""
    spec: ExperimentSpec | None = None
    approvers: set[str] = set()
    before: Decision | None = None
    for decision, order in chain:
        same = before is not None and decision.generation == before.generation
        if before is not None and spec is not None and same:
            if decision.action in ("ADVANCE", "PROMOTE"):
                _check_passed(before.step, decision, order, spec, approvers)
            if decision.step != before.step:
                approvers = set()
        if not same:
            approvers = set()
        if decision.action == "APPLY" and order is not None and order.spec is not None:
            spec = ExperimentSpec.from_json(order.spec)
        if decision.action == "APPROVE" and order is not None:
            approvers.add(order.actor)
        _see(world, decision, order, spec)
        before = decision


def _check_passed(
    left: int, decision: Decision, order: Control | None, spec: ExperimentSpec, before: set[str]
) -> None:
    told = (decision.decision_id, decision.reason, order)
    for step in range(max(left, 0), decision.step):
        approve = spec.release[step].approve
        if approve is None:
            continue
        hold("I24", order is not None and order.role in approve.by, *told)
        assert order is not None
        if order.action == "APPROVE":
            signed = before | {order.actor}
            hold("I24", step == left and len(signed) >= approve.approvals, *told, signed)
        else:
            hold("I24", order.action == "PROMOTE", *told)


def _see(
    world: World, decision: Decision, order: Control | None, spec: ExperimentSpec | None
) -> None:
    seen = world.seen
    if spec is not None and decision.step < len(spec.release):
        seen[f"step: {spec.release[decision.step].strategy if decision.step >= 0 else 'flag'}"] += 1
    if decision.action in ("ADVANCE", "PROMOTE") and order is not None:
        seen[f"passed by {order.action}"] += 1
    if decision.action == "REFUSED" and "the role" in decision.reason:
        seen["refused for its role"] += 1
    evidence = json.loads(decision.evidence)
    if "breach" in evidence:
        breach = evidence["breach"]
        seen[f"breach: {breach['on_breach']}"] += 1
        seen["breach: no data"] += breach["verdict"] == "NO_DATA"
    if "breaker" in evidence:
        seen[f"breaker: {decision.action}"] += 1
